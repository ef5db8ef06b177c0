"""Strict readers of annotation files."""
