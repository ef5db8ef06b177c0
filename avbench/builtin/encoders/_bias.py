"""The bias that attention within a window gets from a table of relative positions.

Pairs of tokens in frames as far apart as two others have the same differences of rows and
columns. So only the pairs of one frame with all frames before and after it are gathered, 2t − 1 of
the t² pairs of frames, and then copied: by type and heads, in a third to two thirds of the time
that gathering them all takes.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ._windows import Triple, relative_positions


class RelativePositions(nn.Module):
    """Where in the table the bias of each pair of a window's tokens lies.

    Args:
        window: as the options name it, to which the table belongs.
        tokens: N, of a window; fewer than the option's product where a map is smaller. The first
            N rows and columns of all pairs are taken then, as the authors do.

    Attributes:
        index: the table's row of each pair, (N·N).
        rows: those of the pairs that are gathered, (tokens of a frame, keys).
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
        """The bias of each pair, in a type."""
        # Cast in between: torch gathers bf16 numbers three times as slowly as fp32 ones, and
        # copies them in half the time.
        gathered = table.t().contiguous().index_select(1, self.rows.flatten()).to(dtype)
        x = torch.unflatten(gathered, 1, (self.frame, -1))
        # The pairs of the i-th frame's queries start ``frames − 1 − i`` frames on.
        n, whole = self.tokens, self.frame * self.frames
        starts = [self.frame * (self.frames - 1 - i) for i in range(self.frames)]
        every = torch.stack([x[:, :, at : at + whole] for at in starts], 1).flatten(1, 2)
        return every if n == whole else every[:, :n, :n].contiguous()


__all__ = ["RelativePositions"]
