"""A split as WebDataset shards: the stage that writes them, and how they are read."""
