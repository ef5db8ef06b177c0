"""The columns of long rows, whose names no axis of a suite may take."""

BEFORE = ("suite", "trial", "label", "seed")
AFTER = (
    *("dataset", "split", "metric", "value", "unit", "status"),
    *("signature", "record", "reason", "log"),
)
"""The fixed columns before and after those of the grid's axes."""

ALTERED = "altered"
"""The axis that says what was done to which streams in generation; empty: nothing."""
