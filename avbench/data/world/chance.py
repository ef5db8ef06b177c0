"""Randomness that depends on names alone, never on the order in which things are made."""

import hashlib
import random
import string

import numpy as np


def seed_of(*parts: object) -> int:
    """A 63-bit seed from anything printable; the same on every machine and Python."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def choices(*parts: object) -> random.Random:
    """A generator for symbolic choices.

    Python's, whose stream is promised for good: annotations stay as they are when numpy moves.
    """
    return random.Random(seed_of(*parts))


def noise(*parts: object) -> np.random.Generator:
    """A generator for pixels and samples."""
    return np.random.default_rng(seed_of(*parts))


def video_id(*parts: object) -> str:
    """Eleven letters and digits, as a YouTube id has them."""
    draw = choices("id", *parts)
    return "".join(draw.choice(string.ascii_letters + string.digits) for _ in range(11))


def shares(n: int, share: float, draw: random.Random) -> list[bool]:
    """``n`` flags of which ``share`` (rounded) are true, in random order."""
    flags = [i < round(n * share) for i in range(n)]
    draw.shuffle(flags)
    return flags


def balanced(values: tuple[str, ...], n: int, draw: random.Random) -> list[str]:
    """``n`` values, each as often as every other (within one), in random order."""
    order = draw.sample(values, len(values))
    dealt = [order[i % len(order)] for i in range(n)]
    draw.shuffle(dealt)
    return dealt
