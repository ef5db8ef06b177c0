"""Sufficient statistics of scores, which give the corpus figure of any resample.

The statistics of an item are additive: ``Metric.from_sums`` makes the figure of any multiset of
items from the sum of their rows. So a bootstrap over thousands of resamples is one matrix product.
The score stage writes them to ``statistics.npz`` (no pickle)::

    ids, videos     one text a line of per_clip.csv, in its order
    rows/NAME       (n,) int64: the lines that the score NAME is defined for
    values/NAME     (n, K) float64: their statistics
"""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from avbench.core.errors import DataError
from avbench.core.visible import brief

STATISTICS = "statistics.npz"

UNREADABLE = (
    *(OSError, EOFError, ValueError, LookupError, TypeError, NotImplementedError, MemoryError),
    *(zipfile.BadZipFile, zlib.error),
)
"""Errors of numpy and zipfile at a damaged file."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sufficient:
    """The statistics of one score."""

    ids: tuple[str, ...]
    """n items: clips, or videos if the score's protocol joins their clips."""
    videos: tuple[str, ...]
    """The video of each item; resampling draws videos, so that their clips stay together."""
    values: Float64[np.ndarray, "n K"]
    """One row for each item; ``Metric.from_sums`` makes the corpus figure from their sum."""


def write(folder: Path, videos: Mapping[str, str], of_score: Mapping[str, Sufficient]) -> None:
    """Write the statistics of a job's scores.

    Args:
        folder: of the job.
        videos: id → video, every line of ``per_clip.csv`` in its order.
        of_score: score name → statistics; its ids are among those of ``videos``.
    """
    line = {item: i for i, item in enumerate(videos)}
    arrays = {"ids": _texts(list(videos)), "videos": _texts(list(videos.values()))}
    for name, each in of_score.items():
        arrays[f"rows/{name}"] = np.array([line[item] for item in each.ids], dtype=np.int64)
        arrays[f"values/{name}"] = each.values
    temporary = folder / f".{STATISTICS}"
    with temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    temporary.replace(folder / STATISTICS)


def read(folder: Path) -> dict[str, Sufficient]:
    """Read the statistics that a score stage wrote, by score.

    Raises:
        DataError: the file is missing or damaged.
    """
    path = folder / STATISTICS
    found = {}
    try:
        # Opened here, because numpy leaves the file open if it is no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            ids, videos = (arrays[name].tolist() for name in ("ids", "videos"))
            for key in arrays.files:
                family, _, name = key.partition("/")
                if family != "values":
                    continue
                rows = arrays[f"rows/{name}"].tolist()
                found[name] = Sufficient(
                    ids=tuple(ids[i] for i in rows),
                    videos=tuple(videos[i] for i in rows),
                    values=arrays[key],
                )
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; score again") from None
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read: {brief(str(error), 120)}") from error
    return found


def _texts(texts: Sequence[str]) -> np.ndarray:
    return np.array(texts, dtype=np.str_) if texts else np.empty(0, dtype="<U1")
