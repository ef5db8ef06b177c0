"""Make the plan of a suite: its trials, its DAG of stages, and their costs and ids."""
