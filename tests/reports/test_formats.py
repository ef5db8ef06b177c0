"""Each report format against a whole snapshot; the sheets hold every kind of cell.

After a wanted change: ``AVBENCH_UPDATE_GOLDEN=1 pytest tests/reports/test_formats.py``, and read
the diff.
"""

import csv
import importlib.util
import io
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from rich.console import Console

from avbench.reports.formats import FORMATS, renderables
from avbench.reports.formats.latex import SPECIAL, escape
from avbench.reports.long_table import Measurement, Table
from avbench.reports.table import Sheet, TableLayout

GOLDEN = Path(__file__).parents[1] / "golden"


def _golden() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_sheets", GOLDEN / "sheets.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


golden = _golden()


@pytest.fixture(scope="module")
def sheets() -> list[Sheet]:
    return golden.sheets()


def _snapshot(name: str, text: str) -> None:
    path = GOLDEN / "reports" / name
    if os.environ.get("AVBENCH_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def written(name: str, sheets: list[Sheet]) -> str:
    """All files of a format, one after the other."""
    return "".join(render(sheets) for render in FORMATS[name].values())


def test_formats() -> None:
    assert {name: list(files) for name, files in FORMATS.items()} == {
        "md": ["md"],
        "csv": ["csv"],
        "latex": ["tex", "notes.tex"],
        "long": ["long.csv"],
        "html": ["html"],
    }


@pytest.mark.parametrize("name", FORMATS)
def test_format_equals_its_snapshot(name: str, sheets: list[Sheet]) -> None:
    for extension, render in FORMATS[name].items():
        text = render(sheets)
        _snapshot(f"sheets.{extension}", text)
        assert render(sheets) == text


def test_console_equals_its_snapshot(sheets: list[Sheet]) -> None:
    console = Console(file=io.StringIO(), width=120, color_system=None, force_terminal=True)
    console.print(*renderables(sheets, console.width))
    text = re.sub(" +\n", "\n", console.file.getvalue())  # type: ignore[attr-defined]
    _snapshot("sheets.console.txt", text)


def test_a_terminal_table_that_is_too_wide_is_broken_between_groups(sheets) -> None:
    console = Console(width=60, file=io.StringIO())
    console.print(*renderables(sheets[:1], console.width))
    text = console.file.getvalue()
    for name, cells in sheets[0].rows:
        assert text.count(name) > 1  # once a part
        for cell in cells:
            assert f"{cell.text} {cell.spread}".strip() in text
    assert max(map(len, text.splitlines())) <= 60


@pytest.mark.parametrize("name", FORMATS)
def test_no_tables_are_no_error(name: str) -> None:
    assert isinstance(written(name, []), str)


def test_long_reads_back_once_for_all_tables(sheets: list[Sheet]) -> None:
    text = written("long", sheets)
    assert Table.read_csv(text) == Table.of(golden.rows())


def test_csv_reads_with_pandas(sheets: list[Sheet]) -> None:
    text = written("csv", sheets[:1])
    frame = pd.read_csv(io.StringIO(text), comment="#")
    assert frame["Loss"].tolist() == [title for title, _ in sheets[0].rows]
    assert frame["talk CIDEr"].tolist()[:3] == ["70.0", "52.0", "60.5"]


class _Tags(HTMLParser):
    """Collects tags, links and text; checks that every element is closed."""

    void = frozenset({"meta"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: set[str] = set()
        self.rows: list[int] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.void:
            self.open.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "tr":
            self.rows.append(0)
        if tag in ("th", "td"):
            self.rows[-1] += int(dict(attrs).get("colspan") or 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_whole_and_needs_nothing_else(sheets: list[Sheet]) -> None:
    text = written("html", sheets)
    tags = _Tags()
    tags.feed(text)
    assert not tags.open
    assert set(tags.rows) == {6, 2, 3}
    assert not tags.attributes & {"src", "href", "style", "onclick"}
    assert "<script" not in text
    assert not re.search("https?:", text)
    assert "url(" not in text
    assert "@import" not in text


@pytest.mark.parametrize("name", ["md", "latex", "html"])
def test_names_cannot_become_markup(name: str) -> None:
    evil = '<script>x</script> | & % $ # _ { } ~ ^ \\input{x} **b** "q"\nnew'
    row = Measurement(
        suite="s", trial="t", label=evil, dataset=evil, metric=evil, status="failed", reason=evil
    )
    sheet = golden.pivot(
        Table.of([row]), TableLayout(title=evil, columns=(golden.Column(metric=evil),))
    )
    text = written(name, [sheet])
    if name == "html":
        assert "<script" not in text
    elif name == "latex":
        assert "\\input" not in text
        assert not re.search(r"(?<!\\)[%$#]", re.sub(r"(?m)^% .*\n|%$", "", text))
    else:
        assert not re.search(r"(?<!\\)<", text)
        table = [line for line in text.splitlines() if line.startswith("|")]
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {3}


HOSTILE = [
    "\x1b[31mred\x1b[2J", "=cmd|'/c calc'!A1", "-2+3", "abc\u202edef", "x](javascript:alert(1))",
    "[/closing]", "&lt;&amp;", "$x^2$", "```", ":smile:", "~~a~~", "_a_", "line1\nline2",
    "# a", "--",
]  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_no_format_executes_or_hides_a_label(name: str) -> None:
    rows = [
        Measurement(
            suite="s", trial=str(i), label=label, dataset="d", metric="m", status="failed",
            reason=f"a,{label}",
        )
        for i, label in enumerate(HOSTILE)
    ]  # fmt: skip
    table = Table.of(rows)
    sheet = golden.pivot(table, TableLayout(title="t", columns=(golden.Column(metric="m"),)))
    text = written(name, [sheet])
    assert text.replace("\n", "").isprintable()
    assert "x1b" in text
    assert "u202edef" in text
    if name in ("csv", "long"):
        for line in csv.reader(io.StringIO(text)):
            assert not any(re.match(r"[=@+]|-[^\w]|-.*\W", c) for c in line if c != "--"), line
    if name == "long":
        printable = [label for label in HOSTILE if label.replace("\n", "").isprintable()]
        assert set(printable) <= set(Table.read_csv(text).frame["label"])
    if name == "md":
        for literal in (
            r"\[/closing\]",
            r"\&lt;\&amp;",
            r"\$x^2\$",
            r"\`\`\`",
            r"\:smile:",
            r"\_a\_",
        ):
            assert literal in text
        assert "line1 line2" in text
    if name == "latex":
        assert r"\$x\textasciicircum{}2\$" in text
        assert "-{}-" in text
    if name == "html":
        assert "&amp;lt;&amp;amp;" in text


def test_latex_escapes_are_themselves_latex() -> None:
    assert escape("a_b & 50 % – ±1…") == r"a\_b \& 50 \% -- $\pm$1\ldots{}"
    assert escape("[x] *") == "{[}x] {*}"
    assert all(len(letter) == 1 for letter in SPECIAL)
