"""The captioner: network, generation, weights and counting of MACs."""
