"""Published figures by row: the paper's systems, and a user's own files."""

from pathlib import Path

import pytest

from avbench.config.overrides import Overrides
from avbench.config.suite import Suite, read_suite
from avbench.core.errors import SuiteError
from avbench.core.registry import Registry, load
from avbench.runner.planning.plan_cache import plan_for

SUITE = """
name: s
rows:
  - {label: one, fusion: merged}
  - {label: two, fusion: cross}
defaults: {loss: plain, modalities: V+A, tasks: [pcc]}
pretrain: null
finetune: {datasets: [vatex, msrvtt]}
"""

MINE = """label,dataset,metric,value,source
one,VATEX,cider,71.5,"Doe et al., Table 2"
Else,MSR-VTT,bleu4,4.25,our earlier paper
"""


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path


def read(folder: Path, registry: Registry, csv: str, published: str = "mine.csv") -> Suite:
    (folder / "mine.csv").write_text(csv, encoding="utf-8")
    (folder / "s.yaml").write_text(f"{SUITE}published: {published}\n")
    return read_suite("s.yaml", registry)


def test_a_users_file_gives_figures_to_rows_and_makes_rows(
    folder: Path, registry: Registry
) -> None:
    figures = read(folder, registry, MINE).published
    assert [(f.label, f.dataset, f.metric, f.value, f.source) for f in figures] == [
        ("one", "vatex", "cider", 71.5, "Doe et al., Table 2"),
        ("Else", "msrvtt", "bleu4", 4.25, "our earlier paper"),
    ]


def test_notes_spaces_blank_lines_and_a_byte_order_mark_are_fine(
    folder: Path, registry: Registry
) -> None:
    text = "\ufefflabel, dataset ,metric,value,source,note\n\n x ,vatex,cider, 1e1 ,s, by us\n"
    (figure,) = read(folder, registry, text).published
    assert (figure.label, figure.value, figure.note) == ("x", 10.0, "by us")


def test_the_papers_systems_have_their_inputs_and_reservations(
    folder: Path, registry: Registry
) -> None:
    suite = read(folder, registry, MINE, "[table5c_sota_vatex, mine.csv]")
    labels = list(dict.fromkeys(figure.label for figure in suite.published))
    assert labels[0] == "GIT2, V (12.9B image-text pairs)"
    assert labels[-2:] == ["one", "Else"]
    git = suite.published[0]
    assert git.source.endswith("Table 5c")
    assert git.note == "uses a large-scale annotated image captioning dataset"
    # Of datasets that the suite does not have, nothing is shown.
    assert not read(folder, registry, MINE, "table5d_sota_activitynet").published


@pytest.mark.parametrize(
    ("csv", "message"),
    [
        ("label,dataset,metric,value\n", "mine.csv:1: no column 'source'"),
        (MINE.replace("metric", "metrik", 1), "mine.csv:1: unknown column 'metrik'; did you mean"),
        ("label,label,dataset,metric,value,source\n", "mine.csv:1: two columns 'label'"),
        (
            MINE.replace("VATEX", "VATX"),
            "mine.csv:2: dataset: unknown dataset 'vatx'; did you mean",
        ),
        (MINE.replace("cider", "cidr"), "mine.csv:2: metric: unknown score 'cidr'; did you mean"),
        (MINE.replace("71.5", "71,5"), "mine.csv:2: 6 cells, and the header has 5"),
        (MINE.replace("71.5", "nan"), "mine.csv:2: value: must be a finite number, got 'nan'"),
        (MINE.replace("71.5", "high"), "mine.csv:2: value: must be a finite number, got 'high'"),
        (MINE.replace("one,", ","), "mine.csv:2: label: must not be empty"),
        (
            MINE.replace("one,", "o" * 201 + ","),
            "label: must have at most 200 characters, got 201",
        ),
        (MINE.replace("our earlier paper", ""), "mine.csv:3: source: must not be empty"),
        (MINE + "one,vatex,cider,2,us\n", "two figures for one, vatex, cider: 71.5 (Doe et al., "),
        ('label,dataset,metric,value,source\n"a,vatex', "mine.csv:2: is no CSV: unexpected end"),
    ],
)
def test_what_is_wrong_with_a_file(
    folder: Path, registry: Registry, csv: str, message: str
) -> None:
    with pytest.raises(SuiteError) as error:
        read(folder, registry, csv)
    assert message in str(error.value)


def test_every_fault_of_a_file_at_once(folder: Path, registry: Registry) -> None:
    faulty = MINE.replace("71.5", "x").replace("bleu4", "bleu5")
    with pytest.raises(SuiteError) as error:
        read(folder, registry, faulty)
    assert [
        line.partition(": ")[0].rpartition("/")[2] for line in str(error.value).split("\n")
    ] == [
        "mine.csv:2",
        "mine.csv:3",
    ]


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("table5c_sota_vate", "unknown published table 'table5c_sota_vate'; did you mean"),
        ("table3_fusion", "unknown published table 'table3_fusion'"),  # selects by axes
        ("none.csv", "s.yaml:9: published: no such file: none.csv"),
        ("/etc/passwd", "unknown published table '/etc/passwd'"),
    ],
)
def test_names_of_files(folder: Path, registry: Registry, named: str, message: str) -> None:
    with pytest.raises(SuiteError) as error:
        read(folder, registry, MINE, named)
    assert message in str(error.value)


def test_a_large_file_is_refused_unread(folder: Path, registry: Registry) -> None:
    with pytest.raises(SuiteError, match="has more than 1048576 bytes"):
        read(folder, registry, "x" * (1 << 20) + "\n")


def test_a_row_has_published_figures_from_one_place(folder: Path, registry: Registry) -> None:
    (folder / "mine.csv").write_text(MINE)
    text = SUITE.replace("fusion: merged}", "fusion: merged, published: {fusion: merged}}")
    (folder / "s.yaml").write_text(
        f"{text}published: mine.csv\ntable: {{published: table3_fusion}}\n"
    )
    with pytest.raises(SuiteError, match=r"s.yaml:4: published: has figures of row 'one', and so"):
        read_suite("s.yaml", registry)


def test_a_changed_file_is_read_again_though_plans_are_kept(folder: Path) -> None:
    (folder / "mine.csv").write_text(MINE)
    (folder / "s.yaml").write_text(f"{SUITE}published: mine.csv\n")
    assert plan_for("s.yaml", Overrides()).published[0]["value"] == 71.5
    (folder / "mine.csv").write_text(MINE.replace("71.5", "72.5"))
    assert plan_for("s.yaml", Overrides()).published[0]["value"] == 72.5
