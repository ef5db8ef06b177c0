"""Reads, checks and merges suites, presets and data files."""
