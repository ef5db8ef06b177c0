"""Captions and their scores: generation, metrics, perturbations and statistics."""
