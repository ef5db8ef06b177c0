"""A split as WebDataset shards: the stage that writes them, and their reading."""
