"""First-party datasets, encoders and metrics, registered like anybody's."""
