"""The commands, a module a topic; ``avbench.cli.main`` puts them together."""
