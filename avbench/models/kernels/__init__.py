"""Faster implementations of attention and of matrix products."""
