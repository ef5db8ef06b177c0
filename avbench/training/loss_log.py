"""The log of a training stage: one CSV row per figure, in step order."""

import csv
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from avbench.core.job import as_written

CURVE = "curve.csv"
HEADER = ("step", "name", "value")


class Curve:
    """Appends figures to ``curve.csv``; after a resume it continues at the checkpoint's step."""

    def __init__(self, directory: Path, start: int) -> None:
        self._path = directory / CURVE
        kept = [row for row in read(directory) if row[0] < start]
        temporary = directory / f".{CURVE}"
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(HEADER)
            writer.writerows((step, name, repr(value)) for step, name, value in kept)
        temporary.replace(self._path)
        self._file = self._path.open("a", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Log figures of one step."""
        self._writer.writerows((step, name, repr(value)) for name, value in figures.items())

    def flush(self) -> None:
        """Write through to the file; called before each checkpoint, so that none is ahead."""
        self._file.flush()

    def close(self) -> None:
        """Flush and close."""
        self._file.close()


def read(directory: Path) -> list[tuple[int, str, float]]:
    """Read the complete rows of a stage's curve; a row cut by a kill is skipped.

    Raises:
        DataError: the curve is damaged.
    """
    path = directory / CURVE
    if not path.exists():
        return []
    with as_written(path):
        text = path.read_bytes().decode("utf-8")
        whole = text[: text.rfind("\n") + 1].splitlines()
        return [(int(s), n, float(v)) for s, n, v in csv.reader(whole[1:])]


def tail(directory: Path, share: float) -> dict[str, dict[int, float]]:
    """Return each figure over the last ``share`` of a stage's steps, by step."""
    rows = read(directory)
    last = max((step for step, _, _ in rows), default=0)
    found: dict[str, dict[int, float]] = {}
    for step, name, value in rows:
        if step >= last * (1 - share):
            found.setdefault(name, {})[step] = value
    return found


def final_losses(directory: Path, share: float = 0.05) -> dict[str, float]:
    """Return the mean of each loss over the last ``share`` of a stage's steps, nats per token."""
    return {
        name: fmean(values.values())
        for name, values in sorted(tail(directory, share).items())
        if name.startswith("L")
    }
