"""How pictures are drawn: alike, and the same figures as the same bytes."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.figure import Figure

FORMATS = {"svg": {"Date": None}, "png": {"Software": None}}
"""With the metadata that would tell when and by what."""


@contextmanager
def style() -> Iterator[None]:
    """What a reader needs is in the file: text is drawn as paths."""
    with mpl.rc_context({"svg.hashsalt": "avbench", "svg.fonttype": "path", "font.size": 9}):
        yield


def saved(figure: Figure) -> tuple[bytes, bytes]:
    """A figure as SVG and PNG; within ``style``."""
    files = {}
    for kind, metadata in FORMATS.items():
        file = io.BytesIO()
        figure.savefig(file, format=kind, dpi=160, metadata=metadata, facecolor="white")
        files[kind] = file.getvalue()
    return files["svg"], files["png"]
