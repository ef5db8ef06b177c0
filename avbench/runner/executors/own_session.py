"""Imported by the fork server alone: makes it a session of its own.

Signals to the runner's process group, as from Ctrl-C or a scheduler, so do not end it; it ends
with the runner and the last of its stages.
"""

import os

os.setsid()
