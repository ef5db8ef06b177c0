"""The columns of the long table; no axis of a suite may take their names."""

BEFORE = ("suite", "trial", "label", "seed")
AFTER = (
    *("dataset", "split", "metric", "value", "unit", "status"),
    *("signature", "record", "reason", "log"),
)
"""The fixed columns before and after those of the grid's axes."""

ALTERED = "altered"
"""The axis of the perturbation of streams in generation; empty: none."""
