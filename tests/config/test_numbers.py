"""Every number of every setting and option: its declaration, and what a suite may not say."""

import contextlib
import dataclasses
import json
import math
import os
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import pytest
import typer

from avbench.cli.main import app
from avbench.config.claims import Claim
from avbench.config.data_file import DatasetEntry
from avbench.config.overrides import Overrides
from avbench.config.precheck import SETTINGS, precheck
from avbench.config.settings_page import settings_page
from avbench.config.suite import read_suite, seeds_fault
from avbench.core import options
from avbench.core.errors import SuiteError
from avbench.core.numbers import Number
from avbench.core.registry import Registry, load
from avbench.data.media.recode import Encoding
from tests.config.test_schema import own  # noqa: F401  # a fixture

ROOT = Path(__file__).parents[2]

REGISTRY = load()

Leaf = tuple[tuple[str | int, ...], type, Number | None]
"""Path to a number in plain data, its type and its declaration."""


def leaves(
    hint: Any, at: tuple[str | int, ...] = (), number: Number | None = None
) -> Iterator[Leaf]:
    """Yield every number within a type."""
    origin = get_origin(hint)
    if origin is Annotated:
        marks = [m for m in hint.__metadata__ if isinstance(m, Number)]
        yield from leaves(get_args(hint)[0], at, marks[0] if marks else number)
    elif origin in (typing.Union, types.UnionType):
        for inner in get_args(hint):
            yield from leaves(inner, at, number)
    elif origin in (tuple, list):
        inner = [i for i in get_args(hint) if i is not Ellipsis]
        for i, one in enumerate(inner):
            yield from leaves(one, (*at, i), number)
    elif dataclasses.is_dataclass(hint):
        for name, one in get_type_hints(hint, include_extras=True).items():
            yield from leaves(one, (*at, name))
    elif hint in (int, float):
        yield at, hint, number


def classes() -> dict[str, type]:
    """Every dataclass whose numbers a file or a command may give."""
    components = {f"{c.family} {c.name}": c.config for c in REGISTRY}
    others = {"claims": Claim, "data file": DatasetEntry, "data prepare": Encoding}
    return {**SETTINGS, **others, **components}


NUMBERS = {
    f"{name}: {'.'.join(map(str, at))}": (cls, at, kind, number)
    for name, cls in classes().items()
    for at, kind, number in leaves(cls)
}


def test_numbers_were_found_in_settings_and_plugins() -> None:
    assert len(NUMBERS) > 90
    assert {"decode: beam", "finetune: selection.share", "losses mbp: alpha"} <= set(NUMBERS)


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_has_two_bounds_a_unit_and_a_source(name: str) -> None:
    _, _, kind, number = NUMBERS[name]
    assert number is not None, "declare it: Annotated[…, Number(unit=…, least=…, most=…)]"
    assert number.unit
    assert number.source
    low = number.least if number.least is not None else number.above
    high = number.most if number.most is not None else number.below
    assert low is not None
    assert high is not None
    assert -math.inf < low < high < math.inf
    assert kind is float or {number.above, number.below} == {None}


def document(at: tuple[str | int, ...], value: Any) -> Any:
    """Return plain data with a value at a path; a list holds it as often as needed."""
    for part in reversed(at):
        value = {part: value} if isinstance(part, str) else [value] * (part + 1)
    return value


@pytest.mark.parametrize("name", NUMBERS)
def test_no_number_beyond_its_bounds_is_read(name: str) -> None:
    cls, at, kind, number = NUMBERS[name]
    assert number is not None
    step = 1 if kind is int else 1e-6
    wrong = [10**30, -(10**30)]
    wrong += [x for x in (number.above, number.below) if x is not None]
    wrong += [number.least - step] if number.least is not None else []
    wrong += [number.most + step] if number.most is not None else []
    if kind is float:
        wrong += [math.nan, math.inf, -math.inf]
    for value in wrong:
        with pytest.raises(options.ValidationError) as caught:
            options.build(cls, document(at, value))
        told = "\n".join(options.problems(caught.value, cls, "here"))
        assert f"here.{'.'.join(map(str, at))}: must be " in told, value
        assert ", got " in told


@pytest.mark.parametrize("name", classes())
def test_defaults_are_within_their_bounds(name: str) -> None:
    cls = classes()[name]
    defaults = {
        f.name: f.default for f in dataclasses.fields(cls) if f.default is not dataclasses.MISSING
    }
    with contextlib.suppress(options.ValidationError):
        options.build(cls, options.plain(defaults))
        return
    with pytest.raises(options.ValidationError) as caught:
        options.build(cls, options.plain(defaults))
    told = [e["type"] for e in caught.value.errors()]
    assert set(told) <= {"missing", "value_error"}, caught.value


def test_an_undeclared_number_of_a_plugin_must_be_finite() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
    class Undeclared:
        x: float = 1.0

    for value in (math.nan, math.inf):
        with pytest.raises(options.ValidationError) as caught:
            options.build(Undeclared, {"x": value})
        assert options.problems(caught.value, Undeclared, "u") == [
            f"u.x: must be finite, got {value}"
        ]


# ------------------------------------------------------------------ suites

SUITE = """
name: small
rows:
  - {label: one, fusion: merged}
defaults: {loss: mbp, modalities: V+A, tasks: [pcc]}
pretrain: {dataset: howto100m}
finetune: {datasets: [vatex]}
"""


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("s.yaml")


REFUSED = [
    (
        "decode: {beam: 1000000000}",
        "s.yaml:8: decode.beam: must be from 1 to 1,000 hypotheses, got 1000000000",
    ),
    ("model: {D: -4}", "s.yaml:8: model.D: must be from 1 to 65,536 channels, got -4"),
    ("model: {heads: 0}", "s.yaml:8: model.heads: must be from 1 to 1,024 heads, got 0"),
    ("input: {frames: 0}", "s.yaml:8: input.frames: must be from 1 to 4,096 frames, got 0"),
    (
        "decode: {length_penalty: .nan}",
        "s.yaml:8: decode.length_penalty: a number must be finite, got .nan",
    ),
    (
        "decode: {length_penalty: -.inf}",
        "s.yaml:8: decode.length_penalty: a number must be finite, got -.inf",
    ),
    (
        "axes: {a: {x: {pretrain.lr: 2}}}",
        "s.yaml:8: pretrain.lr: must be above 0 and at most 1 (per step), got 2.0",
    ),
]


@pytest.mark.parametrize(("line", "message"), REFUSED)
def test_a_number_out_of_range_is_refused_before_plugins_load(
    suite: Path, line: str, message: str
) -> None:
    suite.write_text(f"{SUITE}{line}\n")
    with pytest.raises(SuiteError) as caught:
        precheck(suite)
    assert str(caught.value) == message
    own_axis = "fusion: merged, a: x" if line.startswith("axes") else "fusion: merged"
    suite.write_text(f"{SUITE}{line}\n".replace("fusion: merged", own_axis))
    with pytest.raises(SuiteError) as caught:
        read_suite("s.yaml", REGISTRY)
    assert message.removeprefix("s.yaml:8: ") in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "vatex]}",
            "vatex], clip_norm: -1}",
            "s.yaml:7: finetune.clip_norm: must be above 0 and at most 1,000,000 "
            "(gradient norm), got -1.0",
        ),
        (
            "vatex]}",
            "vatex], betas: [2, -1]}",
            "s.yaml:7: finetune.betas.0: must be at least 0 and below 1 (per step), got 2.0\n"
            "s.yaml:7: finetune.betas.1: must be at least 0 and below 1 (per step), got -1.0",
        ),
        (
            "vatex]}",
            "vatex], per_dataset: {vatex: {lr: 0}}}",
            "s.yaml:7: finetune.per_dataset.vatex.lr: must be above 0 and at most 1 "
            "(per step), got 0.0",
        ),
        (
            "howto100m}",
            f"howto100m, steps: {10**30}}}",
            f"s.yaml:6: pretrain.steps: must be from 1 to 1,000,000,000 steps, got {10**30}",
        ),
        (
            "howto100m}",
            "howto100m, weight_decay: -1e9}",
            "s.yaml:6: pretrain.weight_decay: must be from 0 to 1 (per step), got -1000000000.0",
        ),
        (
            "merged}",
            "merged, pretrain.warmup: 1}",
            "s.yaml:4: pretrain.warmup: must be at least 0 and below 1 (share), got 1.0",
        ),
    ],
)
def test_a_training_that_cannot_be_is_refused(
    suite: Path, old: str, new: str, message: str
) -> None:
    suite.write_text(SUITE.replace(old, new))
    with pytest.raises(SuiteError) as caught:
        precheck(suite)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("model: {D: 130}", "s.yaml:8: model: heads must divide D, got D=130 and heads=4"),
        (
            "input: {hop: 2000}",
            "s.yaml:8: input: hop must be at most n_fft, or sound is left out; got 2000 and 1536",
        ),
        (
            "input: {mel_bins: 1000}",
            "s.yaml:8: input: mel_bins must be at most n_fft / 2 + 1, got 1000 and 1536",
        ),
        (
            "decode: {beam: 500}",
            "s.yaml:8: decode.beam: must be at most the tokens of vocabulary.size, "
            "got 500 and 400",
        ),
        (
            "model: {encoders: {audio: {heads: 7}}}",
            "s.yaml:4: model.encoders.audio.audio_transformer: heads must divide width, "
            "got 7 and 128",
        ),
        (
            "model: {encoders: {audio: {heads: 0}}}",
            "s.yaml:8: model.encoders.audio.audio_transformer.heads: must be from 1 to 1,024 "
            "heads, got 0",
        ),
        ("seeds: 1000000000", "s.yaml:8: seeds: must be from 1 to 1,000 seeds, got 1000000000"),
        ("seeds: [0, -1]", "s.yaml:8: seeds: must be from 0 to 4,294,967,295 (seed), got -1"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(
    suite: Path, line: str, message: str
) -> None:
    suite.write_text(f"{SUITE}{line}\n")
    with pytest.raises(SuiteError) as caught:
        read_suite("s.yaml", REGISTRY)
    assert str(caught.value) == message


def test_a_grid_of_too_many_rows_is_refused_before_it_is_made(suite: Path) -> None:
    axes = ", ".join(f"model.x{i}: [{', '.join(map(str, range(50)))}]" for i in range(8))
    suite.write_text(f"name: big\ngrid: {{{axes}}}\nseeds: 2\n")
    with pytest.raises(SuiteError) as caught:
        read_suite("s.yaml", REGISTRY)
    told = f"s.yaml:2: grid: there must be at most 50,000 rows of each seed, got {50**8:,}"
    assert str(caught.value) == told


@pytest.mark.parametrize(
    "asked", ["0", "1001", "-1", "1e3", "nan", "[", "0,0", "0,.inf", "9" * 5000, "!!int 3", ""]
)
def test_seeds_of_the_command_line_are_held_to_their_range(suite: Path, asked: str) -> None:
    suite.write_text(SUITE)
    with pytest.raises(SuiteError, match=r"^--seeds: ") as caught:
        read_suite("s.yaml", REGISTRY, Overrides(seeds=asked))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_seeds_may_be_some_or_listed() -> None:
    assert seeds_fault(1) is None
    assert seeds_fault([5, 0]) is None
    assert seeds_fault(True) is not None


@pytest.mark.parametrize("name", ["stages", "Stages", "relevance", "a" * 81])
def test_a_suite_cannot_be_named_after_a_folder_of_results(suite: Path, name: str) -> None:
    suite.write_text(SUITE.replace("small", name))
    with pytest.raises(SuiteError, match="name must"):
        read_suite("s.yaml", REGISTRY)


# ------------------------------------------------------------------ commands and documents


def test_every_number_of_a_command_has_bounds() -> None:
    held = {f.name for f in dataclasses.fields(Encoding)}  # checked by Encoding itself
    found = 0

    def walk(group: Any) -> Iterator[Any]:
        for command in getattr(group, "commands", {}).values():
            yield command
            yield from walk(command)

    for command in walk(typer.main.get_command(app)):
        if command.callback is None:
            continue
        for name, hint in get_type_hints(command.callback, include_extras=True).items():
            if get_origin(hint) is not Annotated or name in held:
                continue
            kind, info = get_args(hint)[:2]
            if not {int, float} & {kind, *get_args(kind)} or get_origin(kind) is Literal:
                continue
            found += 1
            bounds = getattr(info.callback, "bounds", None)
            assert isinstance(bounds, Number), f"{command.name} --{name}"
            for value in (math.nan, math.inf, -(10**12), 10**12):
                with pytest.raises(typer.BadParameter, match=r"must be .*, got "):
                    info.callback(value)
            assert info.callback(None) is None
    assert found >= 19


def test_the_settings_page_is_what_the_declarations_say(own: Registry) -> None:  # noqa: F811
    """After a change: AVBENCH_UPDATE_SCHEMAS=1 pytest tests/config."""
    page = ROOT / "docs/settings.md"
    made = settings_page(own)
    if os.environ.get("AVBENCH_UPDATE_SCHEMAS"):
        page.write_text(made + "\n", encoding="utf-8")
    assert page.read_text(encoding="utf-8") == made + "\n"
    for text in (
        "`clip_norm`",
        "above 0 and at most 1,000,000 (gradient norm)",
        "`selection.beam`",
    ):
        assert text in made


def test_schemas_hold_bounds_units_and_sources() -> None:
    held = json.loads((ROOT / "avbench/config/schemas/suite.json").read_text("utf-8"))
    beam = held["properties"]["decode"]["properties"]["beam"]
    assert (beam["minimum"], beam["maximum"]) == (1, 1000)
    assert (beam["x-unit"], beam["x-source"]) == ("hypotheses", "Sec. 4.2")
