"""Two results folders, cell by cell: verdicts, tests, corrections, exit status."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import avbench
from avbench.cli.main import app
from avbench.core.errors import AvbenchError, DataError
from avbench.core.job import RECORD, write_json
from avbench.evaluation.statistics import sufficient
from avbench.evaluation.statistics.estimate import holm
from avbench.evaluation.statistics.resampling import System
from avbench.evaluation.statistics.seeds import over_seeds
from avbench.evaluation.statistics.sufficient import Sufficient
from avbench.evaluation.statistics.videos import difference
from avbench.reports.long_table import Measurement, Table
from avbench.workflow.comparing import ResultsDiff

SIGNATURE = "slot_colour|case:lc|clips:30-abc"

HITS = {
    "low": np.repeat([0.0, 1.0], [25, 5]),
    "high": np.repeat([0.0, 1.0], [3, 27]),
    "near": np.repeat([0.0, 1.0], [24, 6]),
}
"""Clip by clip, right or wrong."""


class Folder:
    """A results folder, written by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Measurement] = []

    def add(self, label: str, value: float | None, **more: object) -> "Folder":
        given = {"seed": 0, "dataset": "vatex", "metric": "slot_colour", "unit": "%"}
        given |= {"signature": SIGNATURE, "axes": {"fusion": "merged"}, **more}
        row = Measurement(suite="s", trial="t", label=label, value=value, **given)  # type: ignore[arg-type]
        self.rows.append(row)
        return self

    def scored(self, label: str, hits: np.ndarray, seed: int = 0, prefix: str = "c") -> "Folder":
        """Add a score with its stage and statistics."""
        record = f"{len(self.rows):016x}"
        folder = self.path / "stages" / f"score-{record}"
        folder.mkdir(parents=True)
        ids = tuple(f"{prefix}{i}" for i in range(len(hits)))
        held = Sufficient(
            ids=ids, videos=ids, values=np.stack([100 * hits, np.ones(len(hits))], axis=1)
        )
        sufficient.write(folder, {i: i for i in ids}, {"slot_colour": held})
        score = {
            "name": "slot_colour",
            "value": 100 * hits.mean(),
            "unit": "%",
            "signature": SIGNATURE,
            "metric": {"name": "slot_accuracy", "options": {}},
            "statistics": True,
        }
        made = {"kind": "score", "id": record, "status": "done", "error": None, "provenance": {}}
        write_json(folder / RECORD, {**made, "results": {"scores": [score]}})
        return self.add(label, float(100 * hits.mean()), seed=seed, record=record)

    def write(self) -> Path:
        (self.path / "s").mkdir(parents=True, exist_ok=True)
        text = Table.of(self.rows).to_csv()
        (self.path / "s" / "table.long.csv").write_text(text, encoding="utf-8")
        return self.path


@pytest.fixture
def a(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "a")


@pytest.fixture
def b(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "b")


def compared(a: Folder, b: Folder) -> ResultsDiff:
    return avbench.diff(a.write(), b.write())


def verdicts(found: ResultsDiff) -> dict[str, str]:
    return {cell.row: cell.verdict for cell in found.cells}


def system(hits: np.ndarray) -> System:
    sums = np.stack([100 * hits, np.ones(len(hits))], axis=1)
    return System(sums=sums, from_sums=lambda s: s[:, 0] / s[:, 1])


def test_a_folder_equals_itself(a: Folder) -> None:
    a.scored("one", HITS["low"]).add("one", 2.5, dataset="", metric="flops_g", signature="")
    found = avbench.diff(a.write(), a.path)
    assert found.counts == {"equal": 2}
    assert not found.differs


def test_scores_with_statistics_are_tested_over_videos_and_corrected(a: Folder, b: Folder) -> None:
    a.scored("far", HITS["low"]).scored("near", HITS["low"]).scored("same", HITS["low"])
    b.scored("far", HITS["high"]).scored("near", HITS["near"]).scored("same", HITS["low"])
    found = compared(a, b)
    assert verdicts(found) == {"far": "significant", "near": "not significant", "same": "equal"}
    far, near, same = found.cells
    assert far.difference == pytest.approx(100 * 22 / 30)
    p = [0.0, 0.0]
    for i, name in enumerate(("high", "near")):
        order = np.argsort([f"c{k}" for k in range(30)])  # videos are sorted by name
        pair = (system(HITS[name][order]), system(HITS["low"][order]))
        p[i] = difference([pair], seed=zlib.crc32(b"vatex")).p
    assert [far.corrected, near.corrected, same.corrected] == holm([*p, 1.0])
    assert {cell.test for cell in found.cells} == {"videos"}
    assert found.differs


def test_several_seeds_are_tested_together_over_videos(a: Folder, b: Folder) -> None:
    for seed in (0, 1):
        a.scored("one", HITS["low"], seed)
        b.scored("one", HITS["high"], seed)
    b.scored("one", HITS["low"], 2)
    (cell,) = compared(a, b).cells
    assert (cell.seeds, cell.test, cell.verdict) == ((0, 1), "videos", "significant")
    assert cell.second == pytest.approx(90.0)  # of the seeds that both have
    assert cell.reason == "only B has seed 2"


def test_scores_without_statistics_are_tested_over_seeds(a: Folder, b: Folder) -> None:
    first, second = (50.0, 51.0, 49.0), (60.0, 61.5, 58.5)
    for seed in range(3):
        a.add("one", first[seed], seed=seed)
        b.add("one", second[seed], seed=seed)
    (cell,) = compared(a, b).cells
    assert cell.test == "seeds"
    assert cell.estimate == over_seeds(np.subtract(second, first))
    assert cell.verdict == "significant"


def test_one_seed_without_statistics_cannot_be_tested_and_counts_as_a_difference(
    a: Folder, b: Folder
) -> None:
    a.scored("one", HITS["low"])
    b.add("one", 30.0)
    found = compared(a, b)
    (cell,) = found.cells
    assert (cell.verdict, cell.corrected) == ("untested", None)
    assert cell.reason.startswith("no statistics by video; one seed: ")
    assert found.differs


def test_scores_made_in_different_ways_are_not_compared_but_told(a: Folder, b: Folder) -> None:
    a.add("list", 10.0).add("tok", 10.0)
    b.add("list", 10.0, signature="slot_colour|case:lc|clips:30-def")
    b.add("tok", 10.0, signature="slot_colour|case:mixed|clips:30-abc")
    found = compared(a, b)
    assert set(verdicts(found).values()) == {"refused"}
    assert [cell.reason for cell in found.cells] == [
        "A made with clips:30-abc, B with clips:30-def",
        "A made with case:lc, B with case:mixed",
    ]
    assert found.differs


def test_statistics_of_other_clips_are_not_compared(a: Folder, b: Folder) -> None:
    a.scored("one", HITS["low"])
    b.scored("one", HITS["high"], prefix="d")
    (cell,) = compared(a, b).cells
    assert (cell.verdict, cell.reason) == ("refused", "other clips: 60 are of one side alone")


def test_cells_that_one_folder_lacks_are_listed_with_the_reason(a: Folder, b: Folder) -> None:
    a.add("gone", 10.0).add("broken", 11.0)
    b.add("fresh", 12.0)
    b.add("broken", None, metric="", status="failed", reason="finetune: too hot", signature="")
    found = compared(a, b)
    assert verdicts(found) == {"gone": "only in A", "broken": "only in A", "fresh": "only in B"}
    reasons = {cell.row: cell.reason for cell in found.cells}
    assert reasons["broken"] == "B: failed: finetune: too hot"
    assert reasons["fresh"] == "A: no such cell"
    assert found.differs


def test_seeds_that_do_not_meet_are_not_compared(a: Folder, b: Folder) -> None:
    a.add("one", 10.0, seed=0)
    b.add("one", 10.0, seed=1)
    (cell,) = compared(a, b).cells
    assert (cell.verdict, cell.reason) == ("refused", "no seed is in both: A 0, B 1")


def test_costs_are_equal_or_differ(a: Folder, b: Folder) -> None:
    cost = {"dataset": "", "metric": "flops_g", "signature": "", "seed": None}
    a.add("one", 1.0, **cost).add("two", 1.0, **cost)
    b.add("one", 1.0, **cost).add("two", 1.1, **cost)
    assert verdicts(compared(a, b)) == {"one": "equal", "two": "differs"}


def test_published_figures_are_left_out_and_other_axes_told(a: Folder, b: Folder) -> None:
    a.add("one", 10.0).add("paper", 1.0, record="published/table3", signature="")
    b.add("one", 10.0, axes={"fusion": "cross"})
    found = compared(a, b)
    assert verdicts(found) == {"one": "equal"}
    assert found.found.notes == ("s, one: other values on axes: fusion merged → cross.",)


def test_a_record_is_never_a_path_out_of_the_folder(a: Folder, b: Folder, tmp_path: Path) -> None:
    """The table is a file that anybody may have written."""
    a.scored("one", HITS["low"])
    b.scored("one", HITS["high"])
    outside = tmp_path / "outside"
    (b.path / "stages" / f"score-{0:016x}").rename(outside)
    b.rows.clear()
    b.add("one", 90.0, record="../../../outside")
    (cell,) = compared(a, b).cells
    assert cell.verdict == "untested"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda a, b: None, "unknown suite 't'"),
        (lambda a, b: (b / "s" / "table.long.csv").unlink(), "unknown suite 't'"),
    ],
)
def test_a_suite_that_a_folder_lacks_is_refused(
    a: Folder, b: Folder, spoil: Callable[[Path, Path], None], message: str
) -> None:
    a.add("one", 1.0)
    b.add("one", 1.0)
    spoil(a.write(), b.write())
    with pytest.raises(AvbenchError, match=message):
        avbench.diff(a.path, b.path, suite="t")


def test_folders_without_tables_are_refused(a: Folder, b: Folder, tmp_path: Path) -> None:
    with pytest.raises(AvbenchError, match=r"a: no such folder; give a results folder"):
        avbench.diff(a.path, b.path)
    a.path.mkdir()
    b.path.mkdir()
    with pytest.raises(AvbenchError, match=r"no suite has a table\.long\.csv; 'avbench report"):
        avbench.diff(a.path, b.path)


def test_a_damaged_table_is_named(a: Folder, b: Folder) -> None:
    a.add("one", 1.0)
    b.add("one", 1.0)
    a.write()
    (b.write() / "s" / "table.long.csv").write_text("x,y\n1,2\n")
    with pytest.raises(DataError, match=r"b/s/table\.long\.csv: cannot be read: long rows: "):
        avbench.diff(a.path, b.path)


# ------------------------------------------------------------------------ the command


def test_the_command_ends_with_0_if_nothing_differs_and_1_if_something_does(
    a: Folder, b: Folder
) -> None:
    a.scored("one", HITS["low"])
    b.scored("one", HITS["high"])
    folders = [str(a.write()), str(b.write())]
    alike = CliRunner().invoke(app, ["diff", folders[0], folders[0]])
    assert alike.exit_code == 0
    assert "1 equal" in alike.output
    found = CliRunner().invoke(app, ["diff", *folders])
    assert found.exit_code == 1
    assert "significant †" in found.output


def test_the_command_prints_json_or_a_format(a: Folder, b: Folder) -> None:
    a.scored("one", HITS["low"]).add("gone", 3.0)
    b.scored("one", HITS["high"])
    folders = [str(a.write()), str(b.write())]
    data = json.loads(CliRunner().invoke(app, ["diff", *folders, "--json"]).output)
    assert data["differs"] is True
    assert data["counts"] == {"significant": 1, "only in A": 1}
    found = avbench.diff(*folders)
    assert data["cells"] == json.loads(json.dumps(found.to_json()))["cells"]
    assert list(found.frame["verdict"]) == ["significant", "only in A"]
    for name in ("md", "csv", "latex", "html", "long"):
        said = CliRunner().invoke(app, ["diff", *folders, "--format", name])
        assert said.output.strip() == found.text(name).strip()
        assert "one" in said.output
    both = CliRunner().invoke(app, ["diff", *folders, "--json", "--format", "md"])
    assert str(both.exception) == "--json and --format: give only one of them"
    wrong = CliRunner().invoke(app, ["diff", *folders, "--format", "mdx"])
    assert "--format: unknown format 'mdx'; did you mean 'md'?" in str(wrong.exception)


def test_a_notebook_shows_the_comparison_in_a_frame(a: Folder, b: Folder) -> None:
    a.add("one <b>", 1.0)
    b.add("one <b>", 1.0)
    found = compared(a, b)
    assert found._repr_html_().startswith("<iframe ")
    assert "<b>" not in found._repr_html_()
    assert repr(found) == f"<diff of {a.path} and {b.path}: 1 equal>"
