"""Runs stages whose folders were written when ``python -m avbench.job DIR`` was their command."""

import sys

from avbench.runner.stage_process import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
