"""From media files and annotations to batches."""
