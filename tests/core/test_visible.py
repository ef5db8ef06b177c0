"""Texts as people may see them: no control of a terminal, no formula of a spreadsheet."""

import csv
import io
import json

import pytest

from avbench.core.visible import (
    as_cell,
    as_comment,
    csv_text,
    json_text,
    of_cell,
    one_line,
    visible,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[2J", r"\x1b[31mred\x1b[2J"),
        ("\x9b31m", r"\x9b31m"),
        ("a\x7fb\x00", r"a\x7fb\x00"),
        ("abc\u202edef\u2066x\u2069", r"abc\u202edef\u2066x\u2069"),
        ("\u200b\u200f\ufeff", r"\u200b\u200f\ufeff"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("naïve 日本　é\u00a0x", "naïve 日本　é\u00a0x"),
        ("\\x1b", "\\x1b"),
    ],
)
def test_hidden_characters_are_escapes(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_lines_are_kept_where_asked_and_joined_in_labels() -> None:
    assert visible("a\nb\t\x1b", keep="\n") == "a\nb\\t\\x1b"
    assert one_line("a\n  b\u2028c\x1b") == r"a b c\x1b"


def test_json_escapes_hidden_characters_and_means_the_same() -> None:
    value = {"\u202ea": ["\x1b[31m", "\x9b", "ü", "\U000e0041", 1.5, None]}
    text = json_text(value)
    assert json.loads(text) == value
    assert "ü" in text
    assert text.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "=cmd|'/c calc'!A1",
        "@SUM(1+1)",
        "+1+1",
        "-2+3",
        " =1",
        "\t=1",
        "＝1",
        "＠x",
        "-cmd|x",
        "+x",
        "\r=1",
    ],
)
def test_a_formula_is_quoted_in_a_cell_and_read_back(text: str) -> None:
    assert as_cell(text).startswith(("'", "\\"))
    (row,) = csv.reader(io.StringIO(csv_text([[text, "x"]])))
    assert not row[0].startswith(tuple("=+-@\t\r"))
    if text.isprintable():
        assert of_cell(row[0]) == text


@pytest.mark.parametrize(
    "text",
    [
        "-0.5",
        "+1.25",
        "-3",
        "1e-4",
        "-1e9",
        "-",
        "-AwyG1JcMp8",
        "a=b",
        "'x",
        "nan",
        "",
        "=".join("ab"),
    ],
)
def test_figures_ids_and_words_are_no_formulas(text: str) -> None:
    assert as_cell(text) == text
    assert of_cell(text) == text


@pytest.mark.parametrize("text", ["=A1", "a,=A1", 'a,"=A1"', "a; =A1", "a,@x", "a,\t-A1"])
def test_no_cell_of_a_comment_is_a_formula(text: str) -> None:
    line = as_comment(text)
    assert line.startswith("# ")
    for delimiter in ",;":
        (cells,) = csv.reader([line.removeprefix("# ")], delimiter=delimiter)
        assert not any(cell.lstrip().startswith(tuple("=+-@")) for cell in cells)
