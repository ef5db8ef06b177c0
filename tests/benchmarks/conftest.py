"""Benchmarks: ``compare`` times ours and theirs in turn, and a report is written in the end.

pytest-benchmark decides whether benchmarks run, and times ours; theirs is timed just before each
of its rounds, so that both see the machine in the same state.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.benchmarks.machine import Limit, Machine
from tests.benchmarks.report import Comparison, Extra, Goal, Report

REPORT = pytest.StashKey[Report]()
MACHINE = pytest.StashKey[Machine]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--bench-report", type=Path, metavar="FOLDER", help="write benchmarks.md and .json there"
    )
    parser.addoption(
        "--bench-whole", action="store_true", help="no part of a slow peer's work stands for all"
    )


@pytest.fixture(scope="session")
def machine(pytestconfig: pytest.Config) -> Machine:
    """The machine's rates; each is measured once."""
    if MACHINE not in pytestconfig.stash:
        said = pytestconfig.hook.pytest_benchmark_generate_machine_info(config=pytestconfig)
        pytestconfig.stash[MACHINE] = Machine(said)
    return pytestconfig.stash[MACHINE]


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config, machine: Machine) -> Report:
    """The measurements of this session."""
    return pytestconfig.stash.setdefault(REPORT, Report())


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread: what a stage has where the executor is told nothing else."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def one_core(one_thread: None) -> Iterator[None]:
    """One thread and one core, also for children and for libraries that keep their threads."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system cannot hold a process to one core")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.fixture
def tabulated(report: Report) -> Callable[..., None]:
    """``tabulated(title, rows, note="")``: a table beside the comparisons."""

    def add(title: str, rows: list[dict[str, Any]], note: str = "") -> None:
        report.extras.append(Extra(title=title, rows=rows, note=note))

    return add


@pytest.fixture
def in_turn(benchmark: Any) -> Callable[..., dict[str, list[float]]]:
    """``in_turn(calls, rounds=…, warmup=…)``: seconds of each call in each round."""

    def measured(
        calls: Mapping[str, Callable[[], object]], *, rounds: int = 7, warmup: int = 1
    ) -> dict[str, list[float]]:
        """Run all calls one after the other, again and again; pytest-benchmark times the last."""
        *others, last = calls
        taken: dict[str, list[float]] = {name: [] for name in others}

        def before() -> None:
            for name in others:
                start = time.perf_counter()
                calls[name]()
                taken[name].append(time.perf_counter() - start)

        benchmark.pedantic(calls[last], setup=before, rounds=rounds, warmup_rounds=warmup)
        if benchmark.stats is None:  # --benchmark-disable: run once, not timed
            return {}
        counted = {name: times[warmup : warmup + rounds] for name, times in taken.items()}
        return {**counted, last: list(benchmark.stats.stats.data)}

    return measured


@pytest.fixture
def compare(
    in_turn: Callable[..., dict[str, list[float]]], report: Report
) -> Callable[..., Comparison | None]:
    """Time ours against theirs and report it."""

    def compared(
        name: str,
        *,
        ours: Callable[[], object],
        theirs: Callable[[], object],
        against: str,
        at_least: float | None = None,
        at_most: float | None = None,
        cost: bool = False,
        limit: Limit | None = None,
        rounds: int = 7,
        warmup: int = 1,
        note: str = "",
    ) -> Comparison | None:
        """Measure and report; None where pytest-benchmark measures nothing.

        Args:
            name: what is computed, and how large it is.
            ours: computes it once.
            theirs: computes the same in another way; the test has seen that results are equal.
            against: what theirs is.
            at_least: goal of theirs / ours.
            at_most: goal of ours / theirs.
            cost: report ours / theirs, without a goal.
            limit: from ``machine.limit``.
            rounds: of each.
            warmup: rounds of each that do not count.
            note: what a reader should know beside the figures.
        """
        times = in_turn({"theirs": theirs, "ours": ours}, rounds=rounds, warmup=warmup)
        if not times:
            return None
        return report.add(
            Comparison(
                name=name,
                against=against,
                ours=times["ours"],
                theirs=times["theirs"],
                goal=Goal(at_least=at_least, at_most=at_most, cost=cost),
                limit=limit,
                threads=torch.get_num_threads(),
                note=note,
            )
        )

    return compared


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the report, goals that are missed as missed."""
    config = session.config
    folder, report = config.getoption("--bench-report", None), config.stash.get(REPORT, None)
    if not folder or not report:
        return
    commit = config.hook.pytest_benchmark_generate_commit_info(config=config)
    dirty = " with changes" if commit.get("dirty") else ""
    described = config.stash[MACHINE].describe() | {
        "date": datetime.now().astimezone().isoformat(timespec="minutes"),
        "commit": f"{str(commit.get('id'))[:7]}{dirty}",
    }
    for path in report.write(folder, described, failed=session.testsfailed):
        config.get_terminal_writer().line(f"\nwritten: {path}")
