"""The bias that attention within a window gets from a table of relative positions.

Pairs of tokens in frames as far apart as two others have the same differences of rows and
columns. So only the pairs of one frame with all frames before and after it are gathered, 2t − 1 of
the t² pairs of frames, and then copied: by type and heads, in a third to two thirds of the time
that gathering them all takes.
"""

import math

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from ._windows import Triple, relative_positions


class RelativePositions(nn.Module):
    """Where in the table the bias of each pair of a window's tokens lies.

    Args:
        window: as the options name it, to which the table belongs.
        tokens: N, of a window; fewer than the option's product where a map is smaller. The first
            N rows and columns of all pairs are taken then, as the authors do.
    """

    def __init__(self, window: Triple, tokens: int) -> None:
        super().__init__()
        frame = window[1] * window[2]
        frames = math.ceil(tokens / frame)
        pairs = relative_positions(window).view(window[0], frame, window[0], frame)
        before, after = pairs[frames - 1, :, :frames], pairs[0, :, 1:frames]
        self.tokens, self.frame, self.frames = tokens, frame, frames
        self.register_buffer("rows", torch.cat([before, after], 1).flatten(1), persistent=False)

    def bias(
        self, table: Float[Tensor, "rows heads"], dtype: torch.dtype
    ) -> Float[Tensor, "heads N N"]:
        """The bias of each pair, in a type."""
        rows = self.get_buffer("rows")
        # Cast in between: torch gathers bf16 numbers three times as slowly as fp32 ones, and
        # copies them in half the time.
        gathered = table.t().contiguous().index_select(1, rows.flatten()).to(dtype)
        return self._spread(torch.unflatten(gathered, 1, (self.frame, -1)))

    def index(self) -> Int[Tensor, " N_N"]:
        """The table's row of each pair."""
        return self._spread(self.get_buffer("rows")[None]).flatten()

    def _spread(self, x: Shaped[Tensor, "k frame keys"]) -> Shaped[Tensor, "k N N"]:
        """To all pairs: those of the i-th frame's queries start ``frames − 1 − i`` frames on."""
        n, whole = self.tokens, self.frame * self.frames
        starts = [self.frame * (self.frames - 1 - i) for i in range(self.frames)]
        all_ = torch.stack([x[:, :, at : at + whole] for at in starts], 1).flatten(1, 2)
        return all_ if n == whole else all_[:, :n, :n].contiguous()


__all__ = ["RelativePositions"]
