"""The commands, a module a topic; ``avbench.cli`` puts them together."""
