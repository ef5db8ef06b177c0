"""Sentences: templates with slots in braces, and how they combine into captions."""

import random
from collections.abc import Iterator, Sequence

from avbench.data.world.slots import Values

_DETERMINERS = ("a", "the", "this", "one")

SCENE = tuple(
    template.replace("<one>", determiner)
    for template in (
        "<one> {colour} {object} {motion} in the {place}",
        "in the {place} <one> {colour} {object} {motion}",
        "there is <one> {colour} {object} that {motion} in the {place}",
        "<one> {object} that is {colour} {motion} in the {place}",
        "we see <one> {colour} {object} which {motion} in the {place}",
        "in the {place} we see <one> {colour} {object} that {motion}",
        "look at <one> {colour} {object} that {motion} in the {place}",
    )
    for determiner in _DETERMINERS
)
"""What the picture shows."""

TALK = tuple(f"{one} {{speaker}} talks about {{ingredient}}" for one in _DETERMINERS)
"""Who is heard, and what about."""

NOISE = (
    "a {sound} is near",
    "the {sound} is there",
    "there is a {sound} too",
    "one {sound} is near",
)
"""What is heard besides speech."""

RECIPE = (
    "use the {tool} to add the {ingredient} to the {colour} {object} that {motion} in the {place}",
    "add {ingredient} with the {tool} while the {colour} {object} {motion} in the {place}",
    "put the {ingredient} on the {colour} {object} that {motion} in the {place} with the {tool}",
    "mix the {ingredient} with the {tool} as the {colour} {object} {motion} in the {place}",
)
"""Instructions: half of the words are spoken, the other half seen."""

NARRATION = (
    "now the {colour} {object} {motion} in the {place} with {ingredient}",
    "here the {colour} {object} {motion} in the {place} with {ingredient}",
    "next the {colour} {object} {motion} in the {place} with {ingredient}",
)
"""The narrated corpus: said, and therefore its ASR text. The steps of a video take turns."""

COOKING_SPEECH = (
    "now take the {tool} and add the {ingredient} in there",
    "next we use the {tool} for the {ingredient}",
    "here we put the {ingredient} in with the {tool}",
)
"""What the cook says."""

TALK_SPEECH = (
    "hello and welcome in the show about {ingredient}",
    "today I have a story about {ingredient} in the news",
    "this is all about {ingredient} and that is it",
)
"""What a speaker says of whom captions tell that he talks about something."""

JOINED = (
    ("{0}",),
    ("{0} while {1}", "{1} while {0}", "{0} and {1}", "{1} and {0}", "{0} as {1}"),
    ("{0} while {1} and {2}", "{1} and {2} while {0}", "{0} as {2} and {1}"),
)
"""How one, two or three facts become one sentence."""


def captions(
    parts: Sequence[Sequence[str]], values: Values, n: int, draw: random.Random
) -> tuple[str, ...]:
    """``n`` different captions that all state the same facts.

    Args:
        parts: for each kind of fact its templates, e.g. ``[SCENE, TALK]``.
        values: a word for every slot in them.
        n: how many.
        draw: chooses among all ways to say it.

    Raises:
        ValueError: there are not ``n`` ways to say it.
    """
    joins = JOINED[len(parts) - 1]
    sizes = [len(joins), *map(len, parts)]
    total = 1
    for size in sizes:
        total *= size
    if total < n:
        raise ValueError(f"{n} captions wanted, but there are {total} ways to say it")
    said = []
    for index in draw.sample(range(total), n):
        chosen = []
        for size in sizes:
            index, place = divmod(index, size)
            chosen.append(place)
        clauses = [part[i] for part, i in zip(parts, chosen[1:], strict=True)]
        said.append(joins[chosen[0]].format(*clauses).format_map(values))
    return tuple(said)


def every() -> Iterator[str]:
    """Every template whose words can stand in a caption."""
    for templates in (SCENE, TALK, NOISE, RECIPE, NARRATION, *JOINED):
        yield from templates
