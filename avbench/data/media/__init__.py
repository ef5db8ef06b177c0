"""Media files and annotations to what the model reads."""
