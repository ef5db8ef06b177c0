"""Words of captions and their counts."""
