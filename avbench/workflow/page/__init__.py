"""The contents of a suite's report page, gathered from its plan and its stages."""
