"""Loading of Video Swin's weights from each published layout."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from avbench.api import DataError, unknown

from ._swin import Swin
from ._weights import load_strictly, read_state
from ._windows import Triple, relative_positions, table_rows

PUBLISHED = re.compile(r"(?:torchvision:)?(Swin3D_\w+\.\w+)")
"""Names of torchvision's published weights."""
TABLE, INDEX = "relative_position_bias_table", "relative_position_index"


def published_name(text: str) -> bool:
    """Return True if a text has the form of a name of torchvision's published weights."""
    return PUBLISHED.fullmatch(text) is not None


def load(encoder: nn.Module, backbone: Swin, text: str, *, resize: bool) -> str:
    """Load weights into an encoder, all of them or none.

    Args:
        encoder: receives all tensors of a file in avbench's layout.
        backbone: its part that receives the tensors of the other layouts.
        text: see ``VideoSwinOptions.weights``.
        resize: see ``VideoSwinOptions.resize_tables``.

    Returns:
        The name of the weights and their layout, for a table's note.

    Raises:
        DataError: the file or the name does not load, its layout is unknown, or its tensors do
            not fit.
    """
    if published_name(text) and not Path(text).is_file():
        state, name, layout = published(text), text.removeprefix("torchvision:"), "torchvision"
        where = name
    else:
        state, name, where = read_state(text), Path(text).name, text
        layout = f"{_layout(state, where)} layout"
    if layout == "avbench's layout":
        load_strictly(encoder, state, where=where)
        return f"{name} ({layout})"
    bare = layout == "authors' layout" and not any(k.startswith("backbone.") for k in state)
    state, resized = _tables(state, backbone.window, where, resize)
    load_strictly(
        backbone,
        state,
        where=where,
        ignore=lambda k: k.startswith(("head.", "cls_head.")) or k.endswith(INDEX),
        named=_torchvisions if "torchvision" in layout else str if bare else _authors,
    )
    return f"{name} ({layout}{resized})"


def published(text: str) -> dict[str, Tensor]:
    """Return torchvision's published weights, from its cache or downloaded, checked by hash.

    Args:
        text: name of a member of an enum of weights, with or without ``torchvision:`` before it.

    Raises:
        DataError: there are no such weights, or they are neither cached nor can be downloaded.
    """
    from torchvision.models import get_weight, video

    name = text.removeprefix("torchvision:")
    names = [
        f"{enum}.{member}"
        for enum in dir(video)
        if enum.startswith("Swin3D_") and enum.endswith("_Weights")
        for member in getattr(video, enum).__members__
        if member != "DEFAULT"
    ]
    if name not in names:
        raise DataError(f"weights: {unknown('weights of torchvision', name, names)}")
    weights: Any = get_weight(name)
    try:
        state: Mapping[str, Tensor] = weights.get_state_dict(
            progress=False, check_hash=True, weights_only=True, map_location="cpu"
        )
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"weights: {name} is not in torchvision's cache and could not be downloaded from "
            f"{weights.url}: {error}. Without a network, give the path of that file"
        ) from error
    return dict(state)


def _layout(state: Mapping[str, Tensor], where: str) -> str:
    if any(name.startswith("project.") for name in state):
        return "avbench's"
    if any(name.startswith("features.") for name in state):
        return "torchvision's"
    if any(name.startswith(("backbone.layers.", "layers.")) for name in state):
        return "authors'"
    raise DataError(
        f"weights: {where} is in no layout that video_swin knows; its tensors are "
        f"{', '.join(sorted(state)[:3]) or 'none'} …; allowed: the authors' (backbone.layers.0…), "
        "torchvision's (features.0…), avbench's (backbone.layers.0… and project.weight)"
    )


def _authors(name: str) -> str:
    return f"backbone.{name}"


def _torchvisions(name: str) -> str:
    """Return torchvision's name of a tensor; its features alternate between blocks and merging."""
    parts = name.split(".")
    if parts[0] != "layers":
        return name
    stage, kind, *rest = int(parts[1]), *parts[2:]
    at = [str(2 * stage)] if kind == "blocks" else [str(2 * stage + 1)]
    plain = ".".join(["features", *at, *rest])
    return plain.replace(".mlp.fc1.", ".mlp.0.").replace(".mlp.fc2.", ".mlp.3.")


def _tables(
    state: Mapping[str, Tensor], window: Triple, where: str, resize: bool
) -> tuple[dict[str, Tensor], str]:
    """Fit bias tables to the window, and check that the file numbers positions alike.

    Returns:
        The state, and a text about resized tables for the note.
    """
    given, resized = dict(state), ""
    plane = (2 * window[1] - 1) * (2 * window[2] - 1)
    for name, table in state.items():
        if not name.endswith(TABLE) or table.ndim != 2 or len(table) == table_rows(window):
            continue
        frames, rest = divmod(len(table) // plane + 1, 2)
        if rest or len(table) % plane:
            continue  # another size along rows or columns: listed as mis-shaped
        made = _times((frames, *window[1:]))
        if not resize:
            raise DataError(
                f"weights: {where} has bias tables of windows of {made}, the options say "
                f"window_size {_times(window)} ({name}: {len(table)} rows, not "
                f"{table_rows(window)}). Set window_size to "
                f"[{frames}, {window[1]}, {window[2]}], or resize_tables to true"
            )
        given[name] = _resize(table, plane, 2 * window[0] - 1)
        given.pop(name.replace(TABLE, INDEX), None)
        resized = f", bias tables of {made} resized"
    wanted = relative_positions(window)
    for name in [k for k in given if k.endswith(INDEX)]:
        if given[name].shape == wanted.shape and not torch.equal(given[name], wanted):
            raise DataError(f"weights: {where} numbers relative positions otherwise: {name}")
    return given, resized


def _resize(table: Tensor, plane: int, frames: int) -> Tensor:
    """Resize a table (differences, heads) to ``frames`` differences in time, ``plane`` a frame.

    A shorter window keeps the differences that occur in it, so it computes the same as the longer
    one on a map as short. A longer one stretches the table linearly.
    """
    cube = torch.unflatten(table, 0, (-1, plane))
    extra = len(cube) - frames
    if extra > 0:
        return cube[extra // 2 : extra // 2 + frames].flatten(0, 1)
    lines = cube.permute(1, 2, 0)
    longer = functional.interpolate(lines, frames, mode="linear", align_corners=True)
    return longer.permute(2, 0, 1).flatten(0, 1)


def _times(window: Triple) -> str:
    return "×".join(map(str, window))


__all__ = ["load", "published", "published_name"]
