"""Comparisons and other tables of a benchmark run, as JSON and as Markdown."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from tabulate import tabulate

from tests.benchmarks.machine import Limit

NAME = "benchmarks"


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A ratio of two figures to report, with its goal."""

    at_least: float | None = None
    """theirs / ours."""
    at_most: float | None = None
    """ours / theirs."""
    cost: bool = False
    """Without a goal: ours / theirs is reported and not theirs / ours."""

    def __post_init__(self) -> None:
        if self.at_least is not None and self.at_most is not None:
            raise ValueError("a goal is at_least or at_most, got both")

    @property
    def inverse(self) -> bool:
        """True where the ratio is our cost beside theirs, and not a speed-up."""
        return self.cost or self.at_most is not None

    def ratio(self, ours: float, theirs: float) -> float:
        """The ratio that is reported."""
        return ours / theirs if self.inverse else theirs / ours

    def met(self, ratio: float) -> bool | None:
        """True where the goal is met; None where there is none."""
        if self.at_least is not None:
            return ratio >= self.at_least
        return None if self.at_most is None else ratio <= self.at_most

    def __str__(self) -> str:
        if self.at_least is not None:
            return f"≥ {self.at_least:.2f}"
        return "" if self.at_most is None else f"≤ {self.at_most:.2f}"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Ours against another way to the same result, both measured in one test."""

    name: str
    against: str
    """What theirs is."""
    ours: list[float]
    """One figure a round."""
    theirs: list[float]
    """Measured in turn with ours, so that both see the machine in the same state."""
    goal: Goal
    unit: str = "s"
    """``s``, or ``GiB`` of peak memory."""
    limit: Limit | None = None
    threads: int = 1
    note: str = ""

    def ratios(self) -> list[float]:
        """The ratio of each round."""
        return [
            self.goal.ratio(ours, theirs)
            for ours, theirs in zip(self.ours, self.theirs, strict=True)
        ]

    def row(self) -> dict[str, Any]:
        """The comparison as plain values; times are medians, the ratio that of the rounds'."""
        ratios = self.ratios()
        low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        ratio = median(ratios)
        bound = None if self.limit is None else self.limit.seconds
        return {
            "name": self.name,
            "against": self.against,
            "unit": self.unit,
            "ours": median(self.ours),
            "theirs": median(self.theirs),
            "ratio": ratio,
            "ratio_of": "ours / theirs" if self.goal.inverse else "theirs / ours",
            "ratio_quartiles": [low, high],
            "goal": str(self.goal) or None,
            "met": self.goal.met(ratio),
            "limit": None if self.limit is None else asdict(self.limit),
            "limit_s": bound,
            "share_of_limit": None if bound is None else bound / median(self.ours),
            "rounds": len(ratios),
            "threads": self.threads,
            "note": self.note,
        }


@dataclass(frozen=True, kw_only=True)
class Extra:
    """A table beside the comparisons, such as where a step's time goes."""

    title: str
    rows: list[dict[str, Any]]
    """Column → value."""
    note: str = ""


@dataclass
class Report:
    """All that a session measured."""

    comparisons: list[Comparison] = field(default_factory=list)
    extras: list[Extra] = field(default_factory=list)

    def add(self, comparison: Comparison) -> Comparison:
        """Add a comparison."""
        self.comparisons.append(comparison)
        return comparison

    def __bool__(self) -> bool:
        return bool(self.comparisons or self.extras)

    def write(self, folder: Path, machine: dict[str, Any], *, failed: int = 0) -> list[Path]:
        """Write ``benchmarks.json`` and ``benchmarks.md``.

        Args:
            folder: where to.
            machine: from ``Machine.describe``, with date and commit.
            failed: how many benchmarks ended in an error and so are not in the report.
        """
        plain = {
            "machine": machine,
            "failed": failed,
            "comparisons": [c.row() for c in self.comparisons],
            "tables": [asdict(e) for e in self.extras],
        }
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{NAME}.{kind}" for kind in ("json", "md")]
        paths[0].write_text(json.dumps(plain, indent=1, ensure_ascii=False) + "\n", "utf-8")
        paths[1].write_text(markdown(plain), "utf-8")
        return paths


def markdown(plain: dict[str, Any]) -> str:
    """The report for people."""
    goals = [c for c in plain["comparisons"] if c["met"] is not None]
    missed = [c["name"] for c in goals if not c["met"]]
    failed = plain["failed"]
    lines = [
        "# Benchmarks",
        "",
        "Made by `make bench`. Ours and theirs ran in turn (theirs, ours, theirs, ours, …) in "
        "one process; "
        "times are medians over the rounds, a ratio is the median of the rounds' ratios, with "
        "its quartiles: theirs / ours where it says faster, else ours / theirs. "
        "The limits are lower bounds: "
        "operations in matrix products over the fastest measured rate (of MACs × 2), and bytes "
        "that must move over the measured memory bandwidth; the share is the larger of the two "
        "over our time.",
        "",
        f"Goals met: {len(goals) - len(missed)} of {len(goals)}."
        + (f" **Missed: {'; '.join(missed)}.**" if missed else ""),
        *([f"**{failed} benchmarks failed and are not here.**"] if failed else []),
        "",
        table([_shown(c) for c in plain["comparisons"]]),
        "",
    ]
    notes = [f"- {c['name']}: {c['note']}" for c in plain["comparisons"] if c["note"]]
    lines += [*notes, ""] if notes else []
    for extra in plain["tables"]:
        lines += [f"## {extra['title']}", "", table(extra["rows"]), ""]
        lines += [extra["note"], ""] if extra["note"] else []
    return "\n".join([*lines, *_machine(plain["machine"])])


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as a Markdown table, values as they are."""
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)


def _shown(c: dict[str, Any]) -> dict[str, str]:
    limit = c["limit"] or {}
    low, high = c["ratio_quartiles"]
    several = c["rounds"] > 1
    return {
        "what": c["name"],
        "against": c["against"],
        "ours": amount(c["ours"], c["unit"]),
        "theirs": amount(c["theirs"], c["unit"]),
        "ratio": f"{c['ratio']:.2f} × {_meaning(c)}"
        + (f" ({low:.2f}–{high:.2f})" if several else ""),
        "goal": c["goal"] or "",
        "met": {True: "yes", False: "**no**", None: ""}[c["met"]],
        "limit: operations": amount(limit.get("flops_s"), "s"),
        "limit: bytes": amount(limit.get("bytes_s"), "s"),
        "share": "" if c["share_of_limit"] is None else f"{c['share_of_limit']:.0%}",
        "threads": str(c["threads"]),
    }


def _meaning(c: dict[str, Any]) -> str:
    """Return the text of a row's ratio."""
    if c["ratio_of"] == "theirs / ours":
        return "faster" if c["unit"] == "s" else "smaller"
    return "the time" if c["unit"] == "s" else "the memory"


def amount(value: float | None, unit: str) -> str:
    """A figure with its unit; times in ms below a second."""
    if value is None:
        return ""
    if unit != "s":
        return f"{value:.3g} {unit}"
    if value >= 1:
        return f"{value:.2f} s"
    return f"{1e3 * value:.3g} ms" if value >= 1e-4 else f"{1e6 * value:.3g} µs"


def _machine(machine: dict[str, Any]) -> list[str]:
    rates = [
        {
            "threads": str(r["threads"]),
            **{
                f"{dtype} products, {way}, GFLOP/s": f"{rate:.0f}"
                for dtype in ("fp32", "bf16")
                for way, rate in r[f"{dtype}_gflop_s"].items()
            },
            "memory, GB/s": f"{r['bandwidth_gb_s']:.0f}",
        }
        for r in machine["rates"]
    ]
    said = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['cores_used']} used, "
        f"{machine['threads']} threads, {machine['capability']}",
        f"torch {machine['torch']}, BLAS {machine['blas']}: {'; '.join(machine['libraries'])}",
        f"Python {machine['python']}, {machine['system']}",
        f"{machine['date']}, commit {machine['commit']}",
    ]
    return ["## Machine", "", *[f"- {s}" for s in said], "", table(rates), ""]
