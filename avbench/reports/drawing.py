"""Draw pictures in one style; equal figures give equal bytes."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.figure import Figure

from avbench.core.visible import visible

FORMATS = {"svg": {"Date": None}, "png": {"Software": None}}
"""File format → the metadata to leave out: time and program."""


@contextmanager
def style() -> Iterator[None]:
    """Set the style of pictures; text is drawn as paths, so that a file needs no font."""
    with mpl.rc_context({"svg.hashsalt": "avbench", "svg.fonttype": "path", "font.size": 9}):
        yield


def literal(text: str) -> str:
    """Return a text that is drawn as it stands: a dollar begins no formula."""
    return visible(text).replace("$", r"\$")


def saved(figure: Figure) -> tuple[bytes, bytes]:
    """Return a figure as SVG and PNG; call it within ``style``."""
    files = {}
    for kind, metadata in FORMATS.items():
        file = io.BytesIO()
        figure.savefig(file, format=kind, dpi=160, metadata=metadata, facecolor="white")
        files[kind] = file.getvalue()
    return files["svg"], files["png"]
