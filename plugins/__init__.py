"""The first-party plugins, installed as ``avbench_plugins``."""
