"""JSON Schemas of suites, presets and data files, for editors."""
