"""The bias of attention within a window, from a table of relative positions.

Pairs of frames at an equal distance have equal differences of rows and columns. So only the pairs
of one frame with all frames before and after it are gathered, 2t − 1 of the t² pairs of frames,
and then copied. This takes a third to two thirds of the time of gathering them all, depending on
type and heads.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ._windows import Triple, relative_positions


class RelativePositions(nn.Module):
    """Place in the table of the bias of each pair of a window's tokens.

    Args:
        window: the window of the options, to which the table belongs.
        tokens: N, tokens of a window; fewer than the option's product if a map is smaller. Then
            the first N rows and columns of all pairs are used, as the authors do.

    Attributes:
        index: the table's row of each pair, (N·N).
        rows: the table's rows of the gathered pairs, (tokens of a frame, keys).
    """

    index: Int[Tensor, " N_N"]
    rows: Int[Tensor, "frame keys"]

    def __init__(self, window: Triple, tokens: int) -> None:
        super().__init__()
        frame = window[1] * window[2]
        frames = math.ceil(tokens / frame)
        every = relative_positions(window)
        pairs = every.view(window[0], frame, window[0], frame)
        rows = torch.cat([pairs[frames - 1, :, :frames], pairs[0, :, 1:frames]], 1).flatten(1)
        self.tokens, self.frame, self.frames = tokens, frame, frames
        self.register_buffer("index", every[:tokens, :tokens].flatten(), persistent=False)
        self.register_buffer("rows", rows, persistent=False)

    def bias(
        self, table: Float[Tensor, "rows heads"], dtype: torch.dtype
    ) -> Float[Tensor, "heads N N"]:
        """Return the bias of each pair, in a type."""
        # Cast between gathering and copying: torch gathers bf16 three times as slowly as fp32,
        # and copies it in half the time.
        gathered = table.t().contiguous().index_select(1, self.rows.flatten()).to(dtype)
        x = torch.unflatten(gathered, 1, (self.frame, -1))
        # The pairs of the i-th frame's queries start ``frames − 1 − i`` frames later.
        n, whole = self.tokens, self.frame * self.frames
        starts = [self.frame * (self.frames - 1 - i) for i in range(self.frames)]
        every = torch.stack([x[:, :, at : at + whole] for at in starts], 1).flatten(1, 2)
        return every if n == whole else every[:, :n, :n].contiguous()


__all__ = ["RelativePositions"]
