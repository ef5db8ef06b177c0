"""Published figures by row: of systems in the paper's Table 5, and in a user's own CSV files."""

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from avbench.config.shipped import published, published_names, source_of
from avbench.config.strict_yaml import FILES_READ, Document, Mark, Problems
from avbench.core.errors import unknown
from avbench.core.visible import brief

COLUMNS = ("label", "dataset", "metric", "value", "source")
"""The columns of a user's file; ``note`` may follow."""

NOTE = "note"
SYSTEM = "method"
"""The column of the paper's tables that names a system."""

LARGEST = 1 << 20
"""Bytes of a file, at most."""

LONGEST = 200
"""Characters of a label, a source or a note, at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedFigure:
    """One figure that somebody has published."""

    label: str
    """The row that it belongs to; if the suite has none of this label, it makes one."""
    dataset: str
    """The dataset's key in the suite."""
    metric: str
    value: float
    """On the scale of the suite's tables: × 100 for the usual scores."""
    source: str
    note: str = ""
    """A reservation, shown as a footnote."""


def read_published(
    files: Sequence[str],
    beside: Path,
    datasets: Iterable[str],
    metrics: Iterable[str],
    doc: Document,
    problems: Problems,
) -> tuple[PublishedFigure, ...]:
    """Read the files that a suite names under ``published``.

    Args:
        files: names of the paper's tables of systems, or paths of CSV files.
        beside: the suite's folder, which relative paths start from.
        datasets: the suite's datasets, by key. Case and punctuation of names do not matter.
        metrics: the scores of the suite's tables.
        doc: the suite file, for places.
        problems: collects what is wrong.
    """
    known = {plain_name(key): key for key in datasets}
    shipped = [n for n, path in published_names().items() if SYSTEM in _header(path)]
    found: list[PublishedFigure] = []
    for i, name in enumerate(files):
        if name in shipped:
            found += _of_paper(name, known)
            continue
        mark = doc.mark(("published", i))
        path = beside / Path(name).expanduser()
        if path.suffix != ".csv":
            text = unknown("published table", name, shipped)
            problems.add(mark, f"published: {text}, or the path of a .csv file")
        elif not path.is_file():
            problems.add(mark, f"published: no such file: {path}")
        elif path.stat().st_size > LARGEST:
            problems.add(mark, f"published: {path} has more than {LARGEST} bytes")
        else:
            found += _of_user(path, known, tuple(metrics), problems)
    places: dict[tuple[str, str, str], PublishedFigure] = {}
    for figure in found:
        place = (figure.label, figure.dataset, figure.metric)
        first = places.setdefault(place, figure)
        if first is not figure:
            text = (
                f"published: two figures for {', '.join(place)}: {first.value:g} "
                f"({first.source}) and {figure.value:g} ({figure.source})"
            )
            problems.add(doc.mark(("published",)), text)
    return tuple(places.values())


def _of_paper(name: str, known: Mapping[str, str]) -> Iterator[PublishedFigure]:
    """Yield the figures of one of the paper's tables of systems, for datasets of the suite."""
    source = source_of(name).text
    for line in published(name):
        dataset = known.get(plain_name(line["dataset"]))
        if dataset is None:
            continue
        inputs, trained = line["inputs"], line["pretraining"]
        yield PublishedFigure(
            label=f"{line[SYSTEM]}, {inputs}" + (f" ({trained})" if trained else ""),
            dataset=dataset,
            metric=line["metric"],
            value=float(line["value"]),
            source=source,
            note=line[NOTE],
        )


def _of_user(
    path: Path, known: Mapping[str, str], metrics: Sequence[str], problems: Problems
) -> Iterator[PublishedFigure]:
    """Yield the figures of a user's file; every fault of every line is reported."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problems.add(Mark(str(path), 0), f"cannot be read: {error}")
        return
    FILES_READ.add(path.resolve())
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        lines = [(reader.line_num, line) for line in reader if any(map(str.strip, line))]
    except csv.Error as error:
        problems.add(Mark(str(path), reader.line_num), f"is no CSV: {error}")
        return
    header = [name.strip() for name in lines[0][1]] if lines else []
    allowed = (*COLUMNS, NOTE)
    faults = [f"no column '{name}'" for name in COLUMNS if name not in header]
    faults += [unknown("column", name, allowed) for name in header if name not in allowed]
    faults += [f"two columns '{name}'" for name in dict.fromkeys(header) if header.count(name) > 1]
    for fault in faults:
        problems.add(Mark(str(path), 1), fault)
    if faults:
        return
    for number, cells in lines[1:]:
        mark = Mark(str(path), number)
        if len(cells) != len(header):
            problems.add(mark, f"{len(cells)} cells, and the header has {len(header)}")
            continue
        line = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
        figure = _checked(line, known, metrics, mark, problems)
        if figure is not None:
            yield figure


def _checked(
    line: Mapping[str, str],
    known: Mapping[str, str],
    metrics: Sequence[str],
    mark: Mark,
    problems: Problems,
) -> PublishedFigure | None:
    """Return a line's figure; None if anything of it is wrong."""
    faults = [f"{name}: must not be empty" for name in ("label", "source") if not line[name]]
    faults += [
        f"{name}: must have at most {LONGEST} characters, got {len(line[name])}"
        for name in ("label", "source", NOTE)
        if len(line.get(name, "")) > LONGEST
    ]
    dataset = known.get(plain_name(line["dataset"]))
    if dataset is None:
        faults.append(f"dataset: {unknown('dataset', line['dataset'].casefold(), known.values())}")
    if line["metric"] not in metrics:
        faults.append(f"metric: {unknown('score', line['metric'], metrics)}")
    try:
        value = float(line["value"])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        faults.append(f"value: must be a finite number, got '{brief(line['value'], 40)}'")
    for fault in faults:
        problems.add(mark, fault)
    if faults or dataset is None:
        return None
    return PublishedFigure(
        label=line["label"],
        dataset=dataset,
        metric=line["metric"],
        value=value,
        source=line["source"],
        note=line.get(NOTE, ""),
    )


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file))


def plain_name(name: str) -> str:
    """Return a dataset's name as it is compared: without case and punctuation.

    >>> plain_name("MSR-VTT"), plain_name("msrvtt")
    ('msrvtt', 'msrvtt')
    """
    return re.sub(r"[^0-9a-z]", "", name.casefold())
