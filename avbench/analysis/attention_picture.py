"""Draw maps of attention over frames, one line a clip.

Source: Exploring the Role of Audio in Video Captioning (Shen et al.), Fig. 5 and Fig. C
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float64, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional

from avbench.reports.drawing import literal, saved, style
from avbench.reports.table import Picture

SIDE = 1.35
"""Inches of a frame."""
COLOURS = "inferno"
OPACITY = 0.6


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlay:
    """The attention from sound to picture in one clip.

    Attributes:
        clip: its id.
        frames: some of its frames in order; the middle one is drawn on.
        maps: by branch, the weights on each place of the picture, summed over frames.
    """

    clip: str
    frames: UInt8[Tensor, "K 3 H W"]
    maps: Mapping[str, Float64[Tensor, "h w"]]

    @property
    def frame(self) -> UInt8[Tensor, "3 H W"]:
        """The frame to draw on."""
        middle: Tensor = self.frames[len(self.frames) // 2]
        return middle

    def share(self, branch: str) -> float:
        """Return the part of a sound token's attention that the picture gets, in per cent."""
        return 100 * float(self.maps[branch].sum())

    def peak(self, branch: str) -> float | None:
        """Return the largest place over the mean; None: sound does not reach the picture."""
        mean = float(self.maps[branch].mean())
        return float(self.maps[branch].max()) / mean if mean else None


def upsampled(map_: Float64[Tensor, "h w"], frame: UInt8[Tensor, "3 H W"]) -> Tensor:
    """Return a map at the size of a frame, from 0 at its least value to 1 at its largest.

    A flat map is 0 everywhere.
    """
    size = tuple(frame.shape[1:])
    large = functional.interpolate(map_[None, None], size, mode="bilinear")[0, 0]
    low, high = map_.min(), map_.max()
    return (large - low) / (high - low) if high > low else large.new_zeros(size)


def attention_picture(name: str, title: str, overlays: Sequence[Overlay]) -> Picture:
    """Draw each clip's frames, and the middle one under every map."""
    branches = list(dict.fromkeys(b for one in overlays for b in one.maps))
    shown = max(len(one.frames) for one in overlays)
    columns, lines = shown + len(branches), len(overlays)
    with style():
        figure = Figure(
            figsize=(SIDE * columns, (SIDE + 0.25) * lines + 0.2), layout="constrained"
        )
        grid = figure.subplots(lines, columns, squeeze=False)
        for line, one in zip(grid, overlays, strict=True):
            for axes, frame in zip(line[:shown], one.frames, strict=True):
                _frame(axes, frame)
            line[shown // 2].set_xlabel(literal(one.clip), fontsize=7)
            for axes, branch in zip(line[shown:], branches, strict=True):
                _overlaid(axes, one, branch)
        for axes, branch in zip(grid[0][shown:], branches, strict=True):
            axes.set_title(literal(branch), fontsize=9)
        grid[0][shown // 2].set_title("frames", fontsize=9)
        svg, png = saved(figure)
    return Picture(
        name=name,
        title=title,
        caption="Attention rollout from the sound tokens to the picture (as the paper's Fig. 5 "
        f"and C). Left: {shown} of the frames; right: each branch's map, summed over all frames "
        "and drawn over the middle one. Bright is the most of a map, dark the least. Under it: "
        "the picture's share of the sound tokens' attention, and the map's peak over its mean. "
        "A peak near 1 is a nearly flat map, whatever its colours show. "
        f"Clips: {', '.join(one.clip for one in overlays)}.",
        svg=svg,
        png=png,
    )


def _frame(axes: Axes, frame: UInt8[Tensor, "3 H W"]) -> None:
    axes.imshow(frame.permute(1, 2, 0).numpy(), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _overlaid(axes: Axes, one: Overlay, branch: str) -> None:
    """Draw one map over the frame."""
    _frame(axes, one.frame)
    peak = one.peak(branch)
    if peak is None:
        axes.set_xlabel("not reached", fontsize=7)
        return
    axes.imshow(
        upsampled(one.maps[branch], one.frame).numpy(),
        cmap=COLOURS,
        alpha=OPACITY,
        vmin=0,
        vmax=1,
        interpolation="nearest",
    )
    axes.set_xlabel(f"{one.share(branch):.2f} %, peak {peak:.2f}", fontsize=7)


__all__ = ["Overlay", "attention_picture", "upsampled"]
