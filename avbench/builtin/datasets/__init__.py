"""Readers of official annotation formats over local media."""
