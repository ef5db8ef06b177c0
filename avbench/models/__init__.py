"""The captioner: network, generation, weights and costs."""
