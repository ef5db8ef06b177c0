"""Plans stages and runs them."""
