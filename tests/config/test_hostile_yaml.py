"""Hostile YAML: one line with the place, in bounded time and memory."""

import time
import tracemalloc
from pathlib import Path

import pytest

from avbench.config import strict_yaml
from avbench.core.errors import SuiteError


def bomb(levels: int, width: int = 10) -> str:
    lines = ["a0: &a0 [" + ",".join("x" * width) + "]"]
    for i in range(1, levels):
        lines.append(f"a{i}: &a{i} [" + ",".join([f"*a{i - 1}"] * width) + "]")
    return "\n".join(lines) + "\n"


HOSTILE = {
    "aliases that grow": (bomb(9), "at most 20,000 values"),
    "aliases of mappings that grow": (
        "a0: &a0 {x: 1, y: 2}\n"
        + "".join(f"a{i}: &a{i} {{x: *a{i - 1}, y: *a{i - 1}}}\n" for i in range(1, 25)),
        "at most 20,000 values",
    ),
    "aliases that only nest": (bomb(60, width=1), "40 deep"),
    "lists within lists": (
        "a: " + "[" * 1000 + "]" * 1000,
        "x.yaml:1: invalid YAML: values must nest at most 40 deep",
    ),
    "open lists": ("a: " + "[" * 100_000, "nest at most 40 deep"),
    "mappings within mappings": (
        "".join(" " * i + f"k{i}:\n" for i in range(200)),
        "nest at most 40 deep",
    ),
    "many values": (
        "a: [" + "1," * 30_000 + "]",
        "x.yaml:1: invalid YAML: there must be at most 20,000 values",
    ),
    "a large file": (
        "a: " + "x" * (1 << 20),
        "x.yaml: must have at most 1,048,576 bytes, got more",
    ),
    "a tag of a number": (
        'b: 1\na: !!int "abc"',
        "x.yaml:2: invalid YAML: tags are not allowed, got 'tag:yaml.org,2002:int'",
    ),
    "a tag of a text": ("a: !!str 12", "x.yaml:1: invalid YAML: tags are not allowed"),
    "a tag of bytes": ("a: !!binary abc", "x.yaml:1: invalid YAML: tags are not allowed"),
    "a tag of a set": ("a: !!set {x, y}", "x.yaml:1: invalid YAML: tags are not allowed"),
    "a tag of a key": ("!!float x: 1", "x.yaml:1: invalid YAML: tags are not allowed"),
    "an own tag": ("a: !x {b: 1}", "x.yaml:1: invalid YAML: tags are not allowed, got '!x'"),
    "NUL": ("a: 1\nb: \0", "x.yaml:2: invalid YAML: the character U+0000 is not allowed"),
    "escaped NUL": ('a: 1\nb: "x\\0y"', "x.yaml:2: b: text must not hold U+0000"),
    "NUL in a key": ('"x\\0": 1', "text must not hold U+0000"),
    "half a surrogate pair": ('a: "\\ud800"', "x.yaml:1: a: text must not hold U+D800"),
    "no character": ('a: "\\UFFFFFFFF"', "x.yaml: invalid YAML: "),
    "5,000 digits": (
        "a: 1\nb: " + "9" * 5000,
        "x.yaml:2: b: a number must have at most 300 characters, got 5000",
    ),
    "5,000 digits after the point": (
        "b: 0." + "9" * 5000,
        "a number must have at most 300 characters",
    ),
    "500 digits as a key": ("9" * 500 + ": 1", "a number must have at most 300 characters"),
    "not a number": ("a: .nan", "x.yaml:1: a: a number must be finite, got .nan"),
    "infinity": ("a: {b: [1, -.inf]}", "x.yaml:1: a.b.1: a number must be finite, got -.inf"),
    "a float that overflows": ("a: 1e999", "x.yaml:1: a: a number must be finite, got 1e999"),
    "a list as a key": ("? [1, 2]\n: 3", "a field's name must be text, got a list"),
    "a mapping as a key": ("? {a: 1}\n: 3", "a field's name must be text, got a mapping"),
    "several documents": ("a: 1\n---\nb: 2", "x.yaml:2: invalid YAML: "),
    "an unknown alias": ("a: *b", "x.yaml:1: invalid YAML: found undefined alias 'b'"),
    "a tab": ("a:\n\t- b", "x.yaml:2: invalid YAML: "),
    "a directive": ("%YAML 9.9\n---\na: 1", "invalid YAML: "),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_yaml_is_one_line_in_bounded_time(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, told = HOSTILE[name]
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(text, encoding="utf-8")
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises(SuiteError) as caught:
        strict_yaml.load(Path("x.yaml"))
    seconds, (_, most) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    said = str(caught.value)
    assert told in said, said[:300]
    assert said.startswith("x.yaml")
    assert "\n" not in said
    assert len(said) < 600
    assert seconds < 10  # of tracemalloc's; without it a fifth
    assert most < 150e6


def test_aliases_that_do_not_grow_are_written_out(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: &a {lr: 1e-3}\nb: [*a, *a]\n")
    assert strict_yaml.load(path).data == {"a": {"lr": 1e-3}, "b": [{"lr": 1e-3}, {"lr": 1e-3}]}
