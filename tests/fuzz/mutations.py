"""Mutations of files: of bytes and lines, and of the tokens of JSON, YAML, csv and subtitles."""

import copy
import json
import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

TOKEN = re.compile(rb'"(?:[^"\\\n]|\\.)*"|-?[0-9][0-9.eE+_:-]*|[\w.\-/#]+|\s+|.', re.DOTALL)
"""A text in quotes, a number or a time, a word, blanks, or any other byte."""

OPEN = {b"[": b"]", b"{": b"}"}

ODD: Sequence[bytes] = (
    *(b"0", b"-0", b"-1", b"1.5", b"1e308", b"1e999", b"-1e999", b"9" * 25, b"9" * 400),
    *(b"0." + b"1" * 400, b"1_000", b"0x10", b"010", b"\xd9\xa3", b"NaN", b"Infinity"),
    *(b"nan", b"-inf", b".inf", b".nan", b"true", b"null", b"~", b"on", b"2001-01-01"),
    *(b'""', b'" "', b"''", b'"\\n"', b'"a\\nb"', b'"\\u0000"', b'"\\ud800"', b'"\\u2028"'),
    *(b'"\\u202e\\u001b[31m"', b'"[/x]"', b'"=1+1"', b'"' + b"long " * 400 + b'"'),
    *(b"[]", b"{}", b"[[]]", b"[null]", b'{"": 0}', b"[1, 2]", b"[2, 1]", b'["a"]'),
    *(b'{"a\\nb": 0}', b"..", b"../../x", b"/", b"\\", b"a/b", b".", b"#", b"*a", b"&a"),
    *(b"!!int", b"- ", b": ", b",", b'"', b"'", b"\t", b"\n", b"\r", b"\r\n", b"\n\n"),
    *(b"\0", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xe9", b"\xe2\x80\xa8", b"\x1b[31m"),
    *(b"-->", b"99:59:59.999", b"00:00:00.000", b"WEBVTT", b"&amp;", b"&#0;", b"&#x110000;"),
    *(b"<c>", b"<00:00:01.000>", b"%", b"@", b"`", b"|", b">", b"?", b"---\n", b"...\n"),
)
"""Values that some reader somewhere takes for something else."""

Mutation = Callable[[bytes, random.Random], bytes]


def mutated(contents: bytes, rng: random.Random, most: int = 3) -> bytes:
    """Return contents with one to ``most`` mutations, nearly all of which are of tokens."""
    for _ in range(rng.randint(1, most)):
        contents = rng.choice(MUTATIONS)(contents, rng)
    return contents


def _tokens(contents: bytes) -> list[bytes]:
    return TOKEN.findall(contents[: 1 << 16]) + (
        [contents[1 << 16 :]] if contents[1 << 16 :] else []
    )


def _replace(contents: bytes, rng: random.Random) -> bytes:
    tokens = _tokens(contents)
    if tokens:
        tokens[_place(tokens, rng)] = rng.choice(ODD)
    return b"".join(tokens)


def _quoted(contents: bytes, rng: random.Random) -> bytes:
    """Put something odd within a text."""
    tokens = _tokens(contents)
    if tokens:
        i = _place(tokens, rng)
        at = rng.randint(0, len(tokens[i]))
        tokens[i] = tokens[i][:at] + rng.choice(ODD) + tokens[i][at:]
    return b"".join(tokens)


def _swap(contents: bytes, rng: random.Random) -> bytes:
    tokens = _tokens(contents)
    if tokens:
        tokens[_place(tokens, rng)] = tokens[_place(tokens, rng)]
    return b"".join(tokens)


def _delete(contents: bytes, rng: random.Random) -> bytes:
    tokens = _tokens(contents)
    if tokens:
        i = _place(tokens, rng)
        del tokens[i : _end(tokens, i)]
    return b"".join(tokens)


def _repeat(contents: bytes, rng: random.Random) -> bytes:
    """Repeat a value, or a key with its value, as the next one."""
    tokens = _tokens(contents)
    if tokens:
        i = _place(tokens, rng)
        end = _end(tokens, i)
        while end < len(tokens) and tokens[end] == b":":
            end = _end(tokens, _next(tokens, end + 1))
        between = rng.choice((b", ", b",", b"\n", b" ", b""))
        tokens[end:end] = [between, *tokens[i:end]]
    return b"".join(tokens)


def _nest(contents: bytes, rng: random.Random) -> bytes:
    tokens = _tokens(contents)
    if tokens:
        i = _place(tokens, rng)
        end, deep = _end(tokens, i), rng.choice((1, 2, 50, 2000))
        kind = rng.choice((b"[", b'{"a":'))
        tokens[end:end] = [OPEN[kind[:1]] * deep]
        tokens[i:i] = [kind * deep]
    return b"".join(tokens)


VALUES: Sequence[Any] = (
    *(None, True, 0, -1, 1, 1.5, 1e308, 10**25, -(10**25), math.nan, math.inf, -math.inf),
    *(
        "",
        " ",
        "a",
        "a\nb",
        "\0",
        "\ud800",
        "\u2028",
        "\u202e\x1b[31m",
        "[/x]",
        "=1+1",
        "1",
        "nan",
    ),
    *(
        "..",
        "../../x",
        "/",
        "a/b",
        "x.mp4",
        "x" * 3000,
        [],
        {},
        [[]],
        [None],
        {"": 0},
        [1, 2],
        [2, 1],
    ),
    *({"a\nb": 0}, ["a", "a"], [0, "a"]),
)
"""Values of JSON that some reader takes for something else."""


def _value(contents: bytes, rng: random.Random) -> bytes:
    """Change one value of JSON, or of one of JSON lines, and write it as JSON again."""
    lines = [contents]
    try:
        made = [json.loads(contents)]
    except (ValueError, RecursionError):
        lines = contents.split(b"\n")
        try:
            made = [json.loads(line) for line in lines if line.strip()]
        except (ValueError, RecursionError):
            return _replace(contents, rng)
    if not made:
        return contents
    try:
        places = list(_places(made))
        holder, key = rng.choice(places)
        what = rng.randrange(6)
        other, its = rng.choice(places)
        if what <= 1:
            holder[key] = rng.choice(VALUES)
        elif what == 2:
            holder[key] = copy.deepcopy(other[its])
        elif what == 3:
            del holder[key]
        elif what == 4 and isinstance(holder, dict):
            holder[its if isinstance(its, str) else rng.choice(("", "a\nb", "x"))] = holder.pop(
                key
            )
        elif isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        else:
            holder[key] = rng.choice(([holder[key]], {"a": holder[key]}, str(holder[key])))
        return b"\n".join(json.dumps(value, indent=None).encode() for value in made)
    except RecursionError:
        return contents


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the place of each value within a list or an object."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], list | dict):
            yield from _places(value[key])


def _lines(contents: bytes, rng: random.Random) -> bytes:
    """Repeat, delete or move a line."""
    lines = contents.splitlines(keepends=True)
    if lines:
        i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
        what = rng.randrange(4)
        if what == 0:
            lines[j:j] = [lines[i]]
        elif what == 1:
            del lines[i]
        elif what == 2:
            lines[i], lines[j] = lines[j], lines[i]
        else:
            lines[j:j] = [lines[i]] * rng.choice((10, 300))
    return b"".join(lines)


def _bytes(contents: bytes, rng: random.Random) -> bytes:
    """Flip a bit, cut, or delete a few bytes."""
    made = bytearray(contents)
    if made:
        i = rng.randrange(len(made))
        what = rng.randrange(3)
        if what == 0:
            made[i] ^= 1 << rng.randrange(8)
        elif what == 1:
            del made[i:]
        else:
            del made[i : i + rng.randint(1, 8)]
    return bytes(made)


def _encoding(contents: bytes, rng: random.Random) -> bytes:
    """Write the text as other programs would."""
    text = contents.decode("utf-8", "replace")
    made = (
        b"\xef\xbb\xbf" + contents,
        contents.replace(b"\n", b"\r\n"),
        contents.replace(b"\n", b"\r"),
        text.replace("a", "é").encode("latin-1", "replace"),
        text.encode("utf-16"),
        text.replace("a", "𝄞").encode(),
        contents.replace(b",", b";"),
        contents + b"\0",
    )
    return rng.choice(made)


MUTATIONS: Sequence[Mutation] = (
    *(_value, _value, _value, _value, _value, _value, _value, _value),
    *(_replace, _replace, _replace, _swap, _swap, _quoted, _delete, _repeat, _repeat),
    *(_nest, _lines, _bytes, _encoding),
)


def _place(tokens: Sequence[bytes], rng: random.Random) -> int:
    """Choose a token, one with contents if there is one near."""
    return _next(tokens, rng.randrange(len(tokens)))


def _next(tokens: Sequence[bytes], i: int) -> int:
    """Return the first token from a place on that is neither blank nor a mark."""
    near = range(i, min(i + 4, len(tokens)))
    return next(
        (j for j in near if len(tokens[j]) > 1 or tokens[j] in OPEN), min(i, len(tokens) - 1)
    )


def _end(tokens: Sequence[bytes], i: int) -> int:
    """Return the place behind a value: behind its last bracket, if it begins with one."""
    deep = 0
    for j in range(i, len(tokens)):
        deep += (tokens[j] in OPEN) - (tokens[j] in OPEN.values())
        if deep <= 0:
            return j + 1
    return len(tokens)
