"""The output of commands, with any labels and in any encoding."""

import io
import json
import re
import sys
from pathlib import Path

import pytest
from rich.text import Text

from avbench.cli import main as command
from avbench.cli.listing import print_plan
from avbench.cli.progress import Bars, Terminal, console
from avbench.reports.drawing import literal

LABELS = [
    "<script>alert(1)</script>", "\\input{/etc/passwd}", "\x1b[31mred\x1b[2J", "=cmd|'/c calc'!A1",
    "abc\u202edef", "a|b|c", "[bold red]rich[/] [link=http://x]y[/link]", "[/closing]", "[ours]",
    "[/x]", "\u200b", "$x^2$ %& #_{}~", ":smile:", "&lt;", "```", "$$",
]  # fmt: skip


def plan() -> dict:
    trial = {"axes": {}, "seed": 0, "skipped": None, "done": {"pretrain": True}}
    return {
        "suite": "s", "title": "[/x] \x1b[2J", "preset": "tiny", "data": "[ours]", "datasets": [],
        "axes": [], "seeds": [0], "trials": [{**trial, "label": label} for label in LABELS],
        "stages": {}, "trainings": [], "damaged": {}, "seconds_left": None, "unmeasured": [],
    }  # fmt: skip


def test_a_plan_shows_every_label_as_written(capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(plan())
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\u202e" not in said
    for label in LABELS:
        shown = label.encode("unicode_escape").decode() if not label.isprintable() else label
        assert shown in said, label


def test_texts_with_styles_and_controls_are_shown_as_escapes_in_a_terminal() -> None:
    terminal = Terminal(
        file=io.StringIO(), force_terminal=True, markup=False, emoji=False, width=80
    )
    terminal.print(Text("\x1b[2Jx\u202e", "bold"))
    said = terminal.file.getvalue()  # type: ignore[attr-defined]
    assert "\\x1b[2Jx\\u202e" in said
    assert re.findall(r"\x1b\[[0-9;]*[A-Za-z]", said) == ["\x1b[1m", "\x1b[0m"]


def test_progress_takes_no_label_for_markup() -> None:
    terminal = Terminal(file=io.StringIO(), force_terminal=True, markup=False, width=200)
    with Bars(terminal) as bars:
        for label in LABELS:
            bars._bars.add_task(label, total=1, note="[/x]", count="")
        bars._bars.refresh()
    said = terminal.file.getvalue()  # type: ignore[attr-defined]
    assert "[/closing]" in said
    assert "[ours]" in said
    assert "\x1b[2J" not in said


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_no_encoding_of_the_output_ends_a_command(
    encoding: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    streams = {
        name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")
    }
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    monkeypatch.setattr(sys, "argv", ["avbench", "plan", f"{tmp_path}/日本 \x1b[2J\udcff.yaml"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    print_plan(plan())
    print("日本 … \udcff", file=sys.stderr)
    for stream in streams.values():
        stream.flush()
    said = streams["stderr"].buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    assert said.startswith("error: suite file ")
    assert "\x1b" not in said
    assert "[/closing]" in streams["stdout"].buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


def test_a_console_without_a_terminal_has_a_fixed_width() -> None:
    assert console().width == 140


def test_a_dollar_in_a_picture_begins_no_formula() -> None:
    from matplotlib import cbook

    for label in LABELS:
        assert cbook.is_math_text(literal(label)) is False
    assert json.dumps(literal("$$")) == '"\\\\$\\\\$"'
