"""Pictures: one big coloured object that moves before a textured place."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from avbench.world.slots import Values

Field = npt.NDArray[np.floating[Any]]
Frames = npt.NDArray[np.uint8]

SECONDS = 3.4
"""Length of a clip."""

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (225, 30, 30),
    "green": (25, 205, 45),
    "blue": (40, 70, 240),
    "yellow": (245, 225, 30),
    "purple": (165, 40, 205),
    "white": (250, 250, 250),
}
_RADIUS = 0.25
"""Half the object's width as a share of the frame's."""
_OUTLINE = 0.1
"""Width of the black rim as a share of the radius: shapes show whatever the colours are."""

# ---------------------------------------------------------------- shapes
# Each is a field over (u, v) in units of the radius, v downwards: negative inside, with a slope
# of about 1 at the border, so that borders can be smoothed.


def _ball(u: Field, v: Field) -> Field:
    return np.hypot(u, v) - 1


def _box(u: Field, v: Field) -> Field:
    """A crate: a square with its two diagonals left open."""
    diagonals = np.minimum(np.abs(u - v), np.abs(u + v)) / 1.41 - 0.08
    return np.maximum(np.maximum(np.abs(u), np.abs(v)) - 0.9, -diagonals)


def _star(u: Field, v: Field) -> Field:
    turn = (np.arctan2(u, -v) * 5 / (2 * np.pi)) % 1
    return np.hypot(u, v) - (0.45 + 0.7 * np.abs(2 * turn - 1))


def _cone(u: Field, v: Field) -> Field:
    """A traffic cone: a triangle with two bands left open."""
    bands = np.abs(np.abs(v - 0.25) - 0.3) - 0.08
    outside = np.maximum(v - 0.95, (np.abs(u) * 1.85 - (v + 1) * 1.0) / 2.1)
    return np.maximum(outside, -bands)


def _wheel(u: Field, v: Field) -> Field:
    radius = np.hypot(u, v)
    return np.minimum(np.abs(radius - 0.82) - 0.28, radius - 0.28)


def _ladder(u: Field, v: Field) -> Field:
    rails = np.abs(np.abs(u) - 0.7) - 0.27
    rungs = np.maximum(np.abs(np.abs(v) - 0.5) - 0.24, np.abs(u) - 0.7)
    return np.maximum(np.minimum(rails, rungs), np.abs(v) - 1.1)


SHAPES: Mapping[str, Callable[[Field, Field], Field]] = {
    "ball": _ball,
    "box": _box,
    "star": _star,
    "cone": _cone,
    "wheel": _wheel,
    "ladder": _ladder,
}

# ---------------------------------------------------------------- motions
# Each gives, for times t (T,) in seconds, the centre (x, y) in shares of the frame and the size
# as a factor on the radius.

Path = tuple[Any, Any, Any]


def _slides(t: Field, draw: np.random.Generator) -> Path:
    phase = (t / draw.uniform(1.9, 2.3) + draw.uniform()) % 1
    return 0.5 + 0.3 * (1 - np.abs(4 * phase - 2)), draw.uniform(0.4, 0.6), 1.0


def _jumps(t: Field, draw: np.random.Generator) -> Path:
    height = np.abs(np.sin(np.pi * (t / draw.uniform(0.8, 1.0) + draw.uniform())))
    return draw.uniform(0.35, 0.65), 0.75 - 0.45 * height, 1.0


def _circles(t: Field, draw: np.random.Generator) -> Path:
    turn = 2 * np.pi * (draw.choice([-1, 1]) * t / draw.uniform(1.6, 2.0) + draw.uniform())
    return 0.5 + 0.25 * np.cos(turn), 0.5 + 0.25 * np.sin(turn), 1.0


def _falls(t: Field, draw: np.random.Generator) -> Path:
    phase = (t / draw.uniform(1.5, 1.8) + draw.uniform()) % 1
    return draw.uniform(0.3, 0.7), -0.1 + 1.2 * phase, 1.0


def _grows(t: Field, draw: np.random.Generator) -> Path:
    phase = (t / draw.uniform(1.5, 1.8) + draw.uniform()) % 1
    return draw.uniform(0.45, 0.55), draw.uniform(0.45, 0.55), 0.4 + 1.4 * phase


def _blinks(t: Field, draw: np.random.Generator) -> Path:
    on = (t / draw.uniform(0.75, 0.9) + draw.uniform()) % 1 < 0.5
    return np.where(on, draw.uniform(0.35, 0.65), -2), draw.uniform(0.35, 0.65), 1.0


MOTIONS: Mapping[str, Callable[[Field, np.random.Generator], Path]] = {
    "slides": _slides,
    "jumps": _jumps,
    "circles": _circles,
    "falls": _falls,
    "grows": _grows,
    "blinks": _blinks,
}

# ---------------------------------------------------------------- places
# Each gives a picture (S, S, 3) from coordinates x, y in shares of the frame; dull colours, so
# that the object's are never mistaken for them.


def _paint(mask: npt.NDArray[np.bool_], on: Any, off: Any) -> Field:
    return np.where(mask[..., None], on, off).astype(np.float32)


def _kitchen(x: Field, y: Field, draw: np.random.Generator) -> Field:
    a, b = draw.uniform(0, 0.2, 2)
    joints = ((x + a) % 0.2 < 0.035) | ((y + b) % 0.2 < 0.035)
    return _paint(joints, (110, 100, 95), (190, 185, 175))


def _garden(x: Field, y: Field, draw: np.random.Generator) -> Field:
    a, b = draw.uniform(0, 0.25, 2)
    flowers = np.hypot((x + a) % 0.25 - 0.125, (y + b) % 0.25 - 0.125) < 0.05
    return _paint(flowers, (205, 160, 175), (95, 125, 80))


def _forest(x: Field, _y: Field, draw: np.random.Generator) -> Field:
    trunks = (x + draw.uniform(0, 0.25)) % 0.25 < 0.1
    return _paint(trunks, (70, 52, 40), (48, 72, 52))


def _street(x: Field, y: Field, draw: np.random.Generator) -> Field:
    line = (np.abs(y - draw.uniform(0.45, 0.55)) < 0.035) & (
        (x + draw.uniform(0, 0.3)) % 0.3 < 0.18
    )
    kerb = np.abs(y - 0.5) > 0.42
    grey = _paint(kerb, (135, 130, 125), (75, 75, 80))
    return np.where(line[..., None], np.float32(215), grey)


def _desert(x: Field, y: Field, draw: np.random.Generator) -> Field:
    wave = np.sin(2 * np.pi * (4 * y + 0.5 * np.sin(2 * np.pi * (x + draw.uniform()))))
    return np.array((190, 160, 115)) + np.array((22, 20, 18)) * wave[..., None]


def _snow(x: Field, y: Field, draw: np.random.Generator) -> Field:
    ground = 0.55 + 0.08 * np.sin(2 * np.pi * (x + draw.uniform()))
    return _paint(y > ground, (222, 228, 236), (135, 150, 172))


PLACES: Mapping[str, Callable[[Field, Field, np.random.Generator], Field]] = {
    "kitchen": _kitchen,
    "garden": _garden,
    "forest": _forest,
    "street": _street,
    "desert": _desert,
    "snow": _snow,
}


def frames(
    shown: Values, *, size: int, fps: int, distractors: int, draw: np.random.Generator
) -> Frames:
    """Draw one clip.

    Args:
        shown: a word for each visual slot.
        size: height and width, pixels.
        fps: frames a second.
        distractors: small grey objects that lie about.
        draw: decides phases, places and light.

    Returns:
        Frames (T, S, S, 3), RGB, T = ``SECONDS`` · fps.
    """
    centres = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = np.meshgrid(centres, centres)
    light = draw.uniform(0.85, 1.1)
    scene = PLACES[shown["place"]](x, y, draw) * np.float32(light)
    for _ in range(distractors):
        shape = str(draw.choice(sorted(SHAPES)))
        at = draw.uniform(0.1, 0.9, 2)
        scene = _put(scene, shape, (x - at[0]) / 0.08, (y - at[1]) / 0.08, (130, 130, 130), size)
    t = np.arange(round(SECONDS * fps), dtype=np.float32) / fps
    across, down, grown = MOTIONS[shown["motion"]](t, draw)
    radius = _RADIUS * draw.uniform(0.9, 1.1) * np.broadcast_to(grown, t.shape)
    radius = radius[:, None, None].astype(np.float32)
    u = (x - np.broadcast_to(across, t.shape)[:, None, None].astype(np.float32)) / radius
    v = (y - np.broadcast_to(down, t.shape)[:, None, None].astype(np.float32)) / radius
    colour = COLOURS[shown["colour"]]
    film = _put(scene[None], shown["object"], u, v, colour, size, radius)
    return np.clip(film, 0, 255).astype(np.uint8)


def _put(
    under: Field,
    shape: str,
    u: Field,
    v: Field,
    colour: tuple[int, int, int],
    size: int,
    radius: Any = 0.08,
) -> Field:
    """Draw a shape with a black rim over a picture; borders are smoothed over one pixel."""
    field = SHAPES[shape](u, v)
    pixels = radius * size
    cover = np.clip(0.5 - field * pixels, 0, 1)[..., None]
    fill = np.clip(0.5 - (field + _OUTLINE) * pixels, 0, 1)[..., None]
    body = np.float32(20) + fill * (np.array(colour, np.float32) - np.float32(20))
    painted: Field = under + cover * (body - under)
    return painted
