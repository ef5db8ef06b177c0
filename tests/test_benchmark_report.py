"""The benchmarks' report: ratios round by round, goals met and missed, limits beside them."""

import json

import pytest

from tests.benchmarks.machine import Limit
from tests.benchmarks.peak import peak_bytes
from tests.benchmarks.report import Comparison, Extra, Goal, Report

MACHINE = {
    "cpu": "a processor", "system": "a system", "cores": 4, "cores_used": 2, "threads": 2,
    "python": "3.11", "torch": "2", "blas": "mkl", "libraries": ["a library"],
    "capability": "AVX2", "date": "today", "commit": "abc",
    "rates": [
        {
            "threads": 1, "bandwidth_gb_s": 40.0,
            "fp32_gflop_s": {"torch.mm": 100.0}, "bf16_gflop_s": {"torch.mm": 400.0},
        }
    ],
}  # fmt: skip


def compared(ours: list[float], theirs: list[float], **changed) -> Comparison:
    given = {"name": "work", "against": "the other way", "goal": Goal(at_least=2.0), **changed}
    return Comparison(ours=ours, theirs=theirs, **given)


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    """A machine that is slow in one round is slow for both."""
    row = compared([1.0, 10.0, 2.0], [3.0, 30.0, 8.0]).row()
    assert (row["ratio"], row["met"]) == (3.0, True)
    assert (row["ours"], row["theirs"]) == (2.0, 8.0)


@pytest.mark.parametrize(
    ("goal", "ratio", "met"),
    [
        (Goal(at_least=2.0), 2.0, True),
        (Goal(at_least=2.1), 2.0, False),
        (Goal(at_most=0.5), 0.5, True),
        (Goal(at_most=0.4), 0.5, False),
        (Goal(), 2.0, None),
        (Goal(cost=True), 0.5, None),
    ],
)
def test_goals_are_on_speed_or_on_cost(goal: Goal, ratio: float, met: bool | None) -> None:
    row = compared([1.0], [2.0], goal=goal).row()
    assert (row["ratio"], row["met"]) == (ratio, met)


def test_a_goal_has_one_direction() -> None:
    with pytest.raises(ValueError, match="at_least or at_most, got both"):
        Goal(at_least=1.0, at_most=2.0)


def test_the_report_shows_what_was_missed_and_what_failed(tmp_path) -> None:
    limit = Limit(flops=1e9, bytes=4e9, dtype="fp32", flops_s=0.01, bytes_s=0.1)
    report = Report()
    report.add(compared([1.0], [1.5], name="slow", limit=limit, note="beware"))
    report.add(compared([0.5, 0.5], [1.5, 2.0], name="fast"))
    report.add(compared([2.0], [1.0], name="big", unit="GiB", goal=Goal(cost=True)))
    report.extras.append(Extra(title="Parts", rows=[{"kind": "products", "ms": 3.5}]))
    paths = report.write(tmp_path, MACHINE, failed=1)
    plain, text = json.loads(paths[0].read_text()), paths[1].read_text()
    assert [(c["name"], c["met"]) for c in plain["comparisons"]] == [
        ("slow", False), ("fast", True), ("big", None),
    ]  # fmt: skip
    assert plain["comparisons"][0]["limit_s"] == 0.1
    assert plain["comparisons"][0]["share_of_limit"] == 0.1
    assert plain["machine"] == MACHINE
    assert "Goals met: 1 of 2. **Missed: slow.**" in text
    assert "**1 benchmarks failed and are not here.**" in text
    lines = [[c.strip() for c in row.split("|")[1:-1]] for row in text.splitlines() if "|" in row]
    assert lines[2] == [
        "slow", "the other way", "1.00 s", "1.50 s", "1.50 × faster", "≥ 2.00", "**no**",
        "10 ms", "100 ms", "10%", "1",
    ]  # fmt: skip
    assert lines[3][4:7] == ["3.50 × faster (2.75–4.25)", "≥ 2.00", "yes"]
    assert lines[4][2:7] == ["2 GiB", "1 GiB", "2.00 × the memory", "", ""]
    assert ["products", "3.5"] in lines
    assert "- slow: beware" in text


def test_peak_memory_counts_what_is_held_at_once() -> None:
    import torch

    def call() -> None:
        first = torch.empty(1000)
        second = torch.empty(2000)
        del first
        third = torch.empty(500)
        del second, third

    assert peak_bytes(call) == 4 * 3000
