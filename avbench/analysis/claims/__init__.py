"""A suite's claims, judged by what has been run."""
