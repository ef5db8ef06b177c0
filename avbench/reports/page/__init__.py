"""The HTML report of a suite, from plain data: one file that needs no network."""
