"""Defaults under a suite's own fields, as YAML files."""
