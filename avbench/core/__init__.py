"""Types, errors, the registry, options and jobs: used in every room."""
