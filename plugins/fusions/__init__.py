"""First-party plugins of this family."""
