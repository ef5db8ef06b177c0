"""Randomness that depends on names alone, never on the order of generation."""

import hashlib
import random
import string

import numpy as np


def seed_of(*parts: object) -> int:
    """Return a 63-bit seed from printable parts; equal on every machine and Python."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def choices(*parts: object) -> random.Random:
    """Return a generator for symbolic choices.

    It is Python's, whose stream is stable: annotations do not change with numpy's version.
    """
    return random.Random(seed_of(*parts))


def noise(*parts: object) -> np.random.Generator:
    """Return a generator for pixels and samples."""
    return np.random.default_rng(seed_of(*parts))


def video_id(*parts: object) -> str:
    """Return eleven letters and digits, like a YouTube id."""
    draw = choices("id", *parts)
    return "".join(draw.choice(string.ascii_letters + string.digits) for _ in range(11))


def shares(n: int, share: float, draw: random.Random) -> list[bool]:
    """Return ``n`` flags, a ``share`` of them (rounded) true, in random order."""
    flags = [i < round(n * share) for i in range(n)]
    draw.shuffle(flags)
    return flags


def balanced(values: tuple[str, ...], n: int, draw: random.Random) -> list[str]:
    """Return ``n`` values in equal numbers (within one), in random order."""
    order = draw.sample(values, len(values))
    dealt = [order[i % len(order)] for i in range(n)]
    draw.shuffle(dealt)
    return dealt
