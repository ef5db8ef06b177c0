"""Loss strategies."""
