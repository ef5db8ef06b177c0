"""Pictures: one big coloured object that moves before a textured place."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from avbench.data.world.slots import Values

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
_GREY = (130, 130, 130)
_RADIUS = 0.25
"""Half the object's width as a share of the frame's."""
_RIM = np.float32(20)  # nearly black
_OUTLINE = 0.1
"""Width of the black rim as a share of the radius: shapes show whatever the colours are."""

# ---------------------------------------------------------------- shapes
# Each gives two fields over (u, v) in units of the radius, v downwards, with a slope of about 1
# at borders, so that these can be smoothed. The first is negative inside the shape. The second is
# negative where the shape is black: every shape has a pattern of its own, as outlines alone are
# hard to tell for a small encoder.

Shape = tuple[Field, Field]


def _ball(u: Field, v: Field) -> Shape:
    """A plain disc."""
    radius = np.hypot(u, v)
    return radius - 1, radius + 1


def _box(u: Field, v: Field) -> Shape:
    """A square with upright slats."""
    return np.maximum(np.abs(u), np.abs(v)) - 0.9, np.abs(u % 0.6 - 0.3) - 0.12


def _star(u: Field, v: Field) -> Shape:
    """Five points around a black middle."""
    radius = np.hypot(u, v)
    turn = (np.arctan2(u, -v) * 5 / (2 * np.pi)) % 1
    return radius - (0.5 + 0.7 * np.abs(2 * turn - 1)), radius - 0.3


def _cone(u: Field, v: Field) -> Shape:
    """A triangle with level bands, as on a traffic cone."""
    outside = np.maximum(v - 0.95, (np.abs(u) * 1.85 - (v + 1) * 1.15) / 2.15)
    return outside, np.abs((v + 0.95) % 0.64 - 0.32) - 0.08


def _wheel(u: Field, v: Field) -> Shape:
    """A ring: what is behind shows through."""
    radius = np.hypot(u, v)
    return np.abs(radius - 0.72) - 0.3, radius + 1


def _ladder(u: Field, v: Field) -> Shape:
    """Two rails and two rungs."""
    rails = np.abs(np.abs(u) - 0.7) - 0.27
    rungs = np.maximum(np.abs(np.abs(v) - 0.5) - 0.24, np.abs(u) - 0.7)
    return np.maximum(np.minimum(rails, rungs), np.abs(v) - 1.1), np.abs(u) + 1


SHAPES: Mapping[str, Callable[[Field, Field], Shape]] = {
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
    painted: Field = np.where(mask[..., None], np.float32(on), np.float32(off))
    return painted


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
    ground: Field = np.array((190, 160, 115)) + np.array((22, 20, 18)) * wave[..., None]
    return ground


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
    x = _grid(size)
    place = PLACES[shown["place"]](x, x.T, draw) * draw.uniform(0.85, 1.1)
    for _ in range(distractors):
        shape = str(draw.choice(sorted(SHAPES)))
        centre = draw.uniform(0.1, 0.9), draw.uniform(0.1, 0.9)
        _put(place, shape, centre, 0.08, _GREY)
    t = np.arange(round(SECONDS * fps), dtype=np.float32) / fps
    path = MOTIONS[shown["motion"]](t, draw)
    across, down, grown = (np.broadcast_to(part, t.shape) for part in path)
    radius = _RADIUS * draw.uniform(0.9, 1.1) * grown
    film = np.repeat(place[None].astype(np.float32), len(t), axis=0)
    for i, picture in enumerate(film):
        centre = float(across[i]), float(down[i])
        _put(picture, shown["object"], centre, float(radius[i]), COLOURS[shown["colour"]])
    return np.clip(film, 0, 255).astype(np.uint8)


def _grid(size: int) -> Field:
    """The x coordinate of every pixel's centre (S, S), in shares of the frame; y transposed."""
    centres = (np.arange(size, dtype=np.float32) + 0.5) / size
    return np.broadcast_to(centres, (size, size))


def _put(
    picture: Field,
    shape: str,
    centre: tuple[float, float],
    radius: float,
    colour: tuple[int, int, int],
) -> None:
    """Draw a shape with a black rim into a picture; borders are smoothed over one pixel.

    Args:
        picture: (S, S, 3), changed in place.
        shape: which.
        centre: x and y in shares of the frame; may lie outside.
        radius: in shares of the frame.
        colour: RGB.
    """
    size = len(picture)
    pixels = radius * size
    reach = 1.3 * pixels + 1  # no shape reaches further from its centre
    first, last = (
        [min(max(round(c * size + sign * reach), 0), size) for c in centre] for sign in (-1, 1)
    )
    window = picture[first[1] : last[1], first[0] : last[0]]
    x, y = (
        (np.arange(a, b, dtype=np.float32) + np.float32(0.5 - c * size)) / np.float32(pixels)
        for a, b, c in zip(first, last, centre, strict=True)
    )
    u, v = np.broadcast_to(x, window.shape[:2]), np.broadcast_to(y[:, None], window.shape[:2])
    outside, black = (field * np.float32(pixels) for field in SHAPES[shape](u, v))
    cover = np.clip(0.5 - outside, 0, 1)[..., None]
    inked = np.minimum(-outside - _OUTLINE * pixels, black)
    fill = np.clip(0.5 + inked, 0, 1)[..., None]
    body = _RIM + fill * (np.array(colour, np.float32) - _RIM)
    window += cover * (body - window)
