"""Plan the stages of a suite and run them."""
