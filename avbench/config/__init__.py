"""Suites, presets and data files: read, checked and merged."""
