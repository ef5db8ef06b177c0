"""Modality configurations."""
