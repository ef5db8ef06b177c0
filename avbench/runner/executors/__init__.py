"""Executors: the machines that stages run on."""
