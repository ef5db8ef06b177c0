"""Metrics: captions against references, and against known facts."""
