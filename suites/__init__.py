"""The predefined suites, installed as ``avbench.suites``."""
