"""The commands, one module per topic; ``avbench.cli.main`` combines them."""
