"""Suites from Python: plan, run, read the results, report them, compare two results folders.

The functions stand in ``avbench.workflow.functions`` and at the package's front door
(``avbench.plan``). The command line parses its options, calls this room, and prints.
"""
