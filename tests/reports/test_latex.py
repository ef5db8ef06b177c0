"""LaTeX tables, compiled by a real LaTeX in classes of one and of two columns."""

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from avbench.config.shipped import published
from avbench.reports.formats import latex
from avbench.reports.long_table import Measurement, Table
from avbench.reports.pivot import pivot
from avbench.reports.short_names import short_names
from avbench.reports.table import Column, Sheet, TableCell, TableLayout, TableRow
from tests.reports.test_formats import HOSTILE, golden

CLASSES = {
    "two columns, as CVPR": (
        r"\documentclass[10pt,twocolumn]{article}\usepackage[textwidth=6.875in,"
        r"textheight=8.875in,columnsep=0.3125in]{geometry}"
    ),
    "two columns": r"\documentclass[twocolumn]{article}",
    "one column": r"\documentclass{article}",
    "fonts of Europe": r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{lmodern}",
}
FAULTS = re.compile(
    r"^(?:Overfull|Missing character|!|.*:\d+: |LaTeX (?:Font )?Warning: (?!Label|No file)).*$",
    re.M,
)


def installed(file: str) -> bool:
    """True if LaTeX has a file."""
    found = shutil.which("kpsewhich")
    return found is not None and subprocess.run([found, file], capture_output=True).returncode == 0


report = [
    pytest.mark.report,
    pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed"),
    pytest.mark.skipif(not shutil.which("pdftotext"), reason="pdftotext is not installed"),
    pytest.mark.skipif(not installed("lmodern.sty"), reason="LaTeX's lmodern is not installed"),
]


def compiled(folder: Path, head: str, sheets: Sequence[Sheet]) -> str:
    """Compile the tables and their notes; return the PDF's text."""
    (folder / "table.tex").write_text(latex.render(sheets), encoding="utf-8")
    (folder / "table.notes.tex").write_text(latex.notes(sheets), encoding="utf-8")
    body = r"\begin{document}\input{table}\clearpage\input{table.notes}\end{document}"
    (folder / "paper.tex").write_text(rf"{head}\usepackage{{booktabs,graphicx}}{body}")
    command = ["pdflatex", "-interaction=nonstopmode", "-file-line-error", "paper.tex"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=120
    )
    log = (folder / "paper.log").read_text(encoding="utf-8", errors="replace")
    assert FAULTS.findall(log) == []
    assert done.returncode == 0
    text = ["pdftotext", "-layout", "paper.pdf", "-"]
    return subprocess.run(text, cwd=folder, capture_output=True, text=True, check=True).stdout


def of_paper(
    name: str,
    title: str,
    label: Callable[[dict[str, str]], str],
    *,
    seeds: int = 1,
    delta_to: str | None = None,
) -> Sheet:
    """One of the paper's tables; the figures of further seeds are larger by a half each."""
    rows = [
        Measurement(
            suite="s", trial=f"t{seed}", label=label(line), dataset=line["dataset"], split="test",
            metric=line["metric"], value=float(line["value"]) + seed / 2, unit="x100", seed=seed,
        )
        for line in published(name)
        for seed in range(seeds)
    ]  # fmt: skip
    names = ("bleu4", "meteor", "rougeL", "cider")
    columns = tuple(Column(metric=name, delta=name == "cider") for name in names)
    layout = TableLayout(title=title, columns=columns, delta_to=delta_to)
    return pivot(Table.of(rows), layout)


def tables(seeds: int) -> list[Sheet]:
    def loss(line: dict[str, str]) -> str:
        tasks = "+".join(task.upper() for task in ("pcc", "pnc") if line[task] == "1")
        return f"{line['loss']}, {tasks}"

    return [
        of_paper("table2_pretraining", "Pre-training", loss, seeds=seeds),
        of_paper("table3_fusion", "Fusion", lambda x: x["fusion"].replace("_", " "), seeds=seeds),
        of_paper("table4_modalities", "Inputs", lambda x: x["inputs"], seeds=seeds, delta_to="V"),
    ]


def large() -> Sheet:
    """A table with more rows than a page has, and more columns than a line."""
    labels = [f"a row with quite a long name that says nothing: {i}" for i in range(70)]
    rows = [
        Measurement(suite="s", trial="t", label=label, dataset=f"dataset {d} of many", metric=m,
                    value=100.0 + d, unit="x100", seed=0)
        for label in labels
        for d in range(9)
        for m in ("cider", "a_score_of_a_plugin")
    ]  # fmt: skip
    columns = tuple(Column(metric=m) for m in ("cider", "a_score_of_a_plugin"))
    return pivot(Table.of(rows), TableLayout(title="Large", columns=columns))


OTHERS = ["Łódź", "日本", "α-β", "a ≤ b", "“quoted”", "naïve", "cafe\u0301", "x" * 90, "ąę"]


def hostile() -> Sheet:
    """Every printable letter of ASCII and more, in each place of a table."""
    every = "".join(map(chr, range(33, 127)))
    labels = [*HOSTILE, *OTHERS, *(every[i : i + 12] for i in range(0, len(every), 12)), every]
    rows = [
        Measurement(suite="s", trial=str(i), label=label, dataset="d_&%#", metric="m^~\\",
                    status="failed", reason=f"{label} failed", log=f"/a/{'b_' * 60}/log.txt")
        for i, label in enumerate(labels)
    ]  # fmt: skip
    layout = TableLayout(
        title=f"All of {every}", corner="$#_{}", columns=(Column(metric="m^~\\"),)
    )
    return pivot(Table.of(rows), layout, [f"signature|{every}|{'0123456789abcdef' * 8}"])


def words(text: str) -> str:
    return " ".join(text.split())


class TestCompiled:
    pytestmark = report

    @pytest.mark.parametrize("name", CLASSES)
    def test_no_table_is_wider_than_its_page(self, tmp_path: Path, name: str) -> None:
        sheets = [*tables(1), *tables(3), *golden.sheets(), large()]
        text = words(compiled(tmp_path, CLASSES[name], sheets))
        assert "Table 1: Pre-training" in text
        assert "Table 10: Large (continued)" in text

    def test_the_paper_s_tables_keep_one_panel_and_their_figures(self, tmp_path: Path) -> None:
        text = compiled(tmp_path, CLASSES["two columns, as CVPR"], tables(1))
        for row in (
            "plain, PCC 15.9 20.2 43.0 166.8 41.4 28.5 60.7 47.6 31.2 21.9 47.7 50.7 10.0 14.6 "
            "28.4 20.1",
            "cross 19.5 23.4 48.9 211.2 37.8 24.7 52.0 68.9",
            "V+A 20.6 24.2 49.6 217.0 (77.8 ↑) 46.0 30.6 64.0 57.0 (5.0 ↑)",
            "A 13.4 17.6 38.5 138.9 (0.3 ↓)",
        ):
            assert row in [words(line)[: len(row)] for line in text.splitlines()]

    @pytest.mark.parametrize("name", CLASSES)
    def test_captions_are_broken_into_lines(self, tmp_path: Path, name: str) -> None:
        said = "put the onions and the garlic into a pan with olive oil " * 4
        titles = [*HOSTILE, *OTHERS, f"Ground truth: {said}", f"Video and audio: {said}"]
        sheet = Sheet(
            title="Captions", corner="caption", groups=(("dataset", 1),), columns=("clip",),
            rows=tuple((title, (TableCell(status="a_clip#1" * (i % 2)),))
                       for i, title in enumerate(titles)),
            short=tuple(titles), footnotes=(), legend=(), notes=(), table=Table.of([], axes=()),
        )  # fmt: skip
        text = words(compiled(tmp_path, CLASSES[name], [sheet]))
        assert "Ground truth: put the onions and the garlic into a pan with" in text

    @pytest.mark.parametrize("name", CLASSES)
    def test_no_letter_stops_latex(self, tmp_path: Path, name: str) -> None:
        compiled(tmp_path, CLASSES[name], [hostile()])

    def test_every_letter_is_printed_and_none_is_markup(self, tmp_path: Path) -> None:
        # With LaTeX's default fonts a PDF says "naı̈ve", and draws "_" as a line.
        text = compiled(tmp_path, CLASSES["fonts of Europe"], [hostile()])
        joined = "".join(text.split())
        for label in (
            *("Łódź", "U+65E5U+672C", "α-β", "a≤b", "naïve", "café", "U+0105U+0119"),
            *("&lt;&amp;", "$x^2$", ":smile:", "_a_", "#a", "~~a~~", "m^~\\", "d_&%#"),
            *("\\x1b[31mred", "abc\\u202edef", "--", "-2+3", "[/closing]", "```"),
        ):
            assert label in joined


def test_rows_scores_and_differences_are_written_as_papers_do() -> None:
    text = latex.render(tables(3)[2:])
    assert text.count(r"\begin{table*}") == text.count(r"\end{table*}") == 1
    assert r"\multicolumn{4}{c}{YouCook2}" in text
    assert "B & M & R & C" in text
    assert "B: BLEU-4, M: METEOR, R: ROUGE-L, C: CIDEr." in text
    assert r"\textsubscript{$\pm$0.5} {\scriptsize(77.8\,$\uparrow$)}" in text
    assert r"{\scriptsize(0.3\,$\downarrow$)}" in text
    assert r"\textbf{21.4}" in text
    assert r"\textit{21.1}" in text


def test_notes_stand_in_a_file_of_their_own(tmp_path: Path) -> None:
    sheet = hostile()
    assert "signature" not in latex.render([sheet])
    assert "log." not in latex.render([sheet])
    said = latex.notes([sheet])
    assert "signature" in said
    assert r"\textsuperscript{1}~" in said


def test_no_row_is_lost_between_panels_and_floats() -> None:
    sheet = large()
    text = latex.render([sheet])
    panels = len(re.findall(r"\\begin\{tabular\}\{@\{\}lc", text))
    floats = text.count(r"\begin{table*}")
    assert panels >= floats > 1
    named = {len(re.findall(rf"says nothing: {i}\\end", text)) for i in range(70)}
    assert named == {3}  # once a panel
    assert [text.count(f"10{d}.0") for d in range(9)] == [2 * 70] * 9
    assert text.count(r"\label") == 1


def test_equal_titles_have_different_labels() -> None:
    sheet = tables(1)[1]
    labels = re.findall(r"\\label\{(.*?)\}", latex.render([sheet, sheet]))
    assert labels == ["tab:fusion", "tab:fusion-2"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (("merged, mbp, V+A", "cross, mbp, V+A"), ("merged", "cross")),
        (("merged, mbp", "merged, mbp, V"), ("merged, mbp", "V")),
        (("only",), ("only",)),
        (("a, b", "b, a"), ("a, b", "b, a")),
    ],
)
def test_a_short_name_leaves_out_what_all_rows_share(rows, expected) -> None:
    assert short_names([TableRow(label=label) for label in rows]) == expected


def test_a_given_short_name_counts() -> None:
    rows = [TableRow(label="a, x", short="A"), TableRow(label="b, x"), TableRow(label="c, x")]
    assert short_names(rows) == ("A", "b", "c")
