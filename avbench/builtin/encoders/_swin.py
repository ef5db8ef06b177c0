"""A fast backbone of Video Swin: tokens stay in window order from one block to the next.

LayerNorm, MLP and residual act on single tokens, so windows never need to return to the map.
Between two blocks one gather takes the tokens from one window order to the next (un-window,
un-shift, shift, window in one precomputed index). Without gradients a block runs on a few windows
at a time, so that its intermediate values stay in the processor's cache.

Parameters have the names of the authors' code.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from avbench.api import linear, portable

from ._attention import Masks, attend, infer
from ._bias import RelativePositions
from ._geometry import Geometry, StageGeometry, Windows
from ._layers import LayerNorm, Linear, cast
from ._windows import Triple, table_rows

HIDDEN = 3_200_000
"""Values of the MLP's hidden layer in a range of windows, per thread (13 MB in fp32)."""
SPREAD = 0.02
"""Standard deviation of initial weights."""


class Attention(nn.Module):
    """Multi-head attention within windows, with a bias by relative position."""

    def __init__(self, width: int, heads: int, window: Triple) -> None:
        super().__init__()
        self.qkv = Linear(width, 3 * width)
        self.proj = Linear(width, width)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(table_rows(window), heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=SPREAD)

    def forward(self, x: Tensor, positions: RelativePositions, masks: Masks) -> Tensor:
        """Attend within the windows of (B, W, N, C)."""
        table: Tensor = self.relative_position_bias_table
        y: Tensor = self.proj(attend(self.qkv(x), table, positions, masks))
        return y

    def run(self, x: Tensor, bias: Tensor, masks: Masks, add: Tensor) -> Tensor:
        """Attend without gradients, with a given bias, and add ``add``."""
        y: Tensor = self.proj(infer(self.qkv(x), bias, masks), add=add)
        return y


class Mlp(nn.Module):
    """Two linear layers and a GELU."""

    def __init__(self, width: int, ratio: int = 4) -> None:
        super().__init__()
        self.fc1 = Linear(width, ratio * width)
        self.fc2 = Linear(ratio * width, width)

    def forward(self, x: Tensor, add: Tensor | None = None) -> Tensor:
        """Apply to tokens, and add ``add`` to the result."""
        y: Tensor = self.fc2(self.fc1(x, gelu=True), add=add)
        return y


class Block(nn.Module):
    """A Swin block on tokens in window order."""

    def __init__(self, width: int, heads: int, window: Triple, drop: float) -> None:
        super().__init__()
        self.norm1 = LayerNorm(width)
        self.attn = Attention(width, heads, window)
        self.norm2 = LayerNorm(width)
        self.mlp = Mlp(width)
        self.drop = drop

    def forward(self, x: Tensor, windows: Windows, positions: RelativePositions) -> Tensor:
        """Apply to (B, tokens, C); without gradients x is overwritten."""
        masks = windows.of(x.dtype)
        whole = windows.pad is None and not (self.training and self.drop)
        if whole and not torch.is_grad_enabled() and not portable(x):
            self._run_in_place(torch.unflatten(x, 1, (windows.windows, -1)), positions, masks)
            return x
        y = self.norm1(x)
        if windows.pad is not None:
            y = windows.pad(y)
        y = self.attn(torch.unflatten(y, 1, (windows.windows, -1)), positions, masks)
        y = y.flatten(1, 2)
        if windows.cut is not None:
            y = windows.cut(y)
        x = x + self._branch(y)
        y = self._branch(self.mlp(self.norm2(x)))
        total: Tensor = x + y
        return total

    def _branch(self, y: Tensor) -> Tensor:
        """Return a branch's output; stochastic depth sets it to zero for some clips."""
        if not (self.training and self.drop):
            return y
        # Equal to torchvision's, whose import takes as long as PyTorch's own.
        return y * functional.dropout(y.new_ones(len(y), 1, 1), self.drop)

    def _run_in_place(self, x: Tensor, positions: RelativePositions, masks: Masks) -> None:
        """Apply in place, on a few windows at a time."""
        table: Tensor = self.attn.relative_position_bias_table
        bias = positions.bias(table, x.dtype)
        clips, windows, n, width = x.shape
        budget = max(1, HIDDEN * torch.get_num_threads() // (4 * width * n))
        run, whole = min(budget, windows), max(1, budget // windows)
        for b in range(0, clips, whole):
            for w in range(0, windows, run):
                part = x[b : b + whole, w : w + run]
                here = Masks(values=masks.values, pattern=masks.pattern[w : w + run])
                z = self.attn.run(self.norm1(part), bias, here, part)
                part.copy_(self.mlp(self.norm2(z), add=z))


class Merging(nn.Module):
    """Merges four neighbours' normalised channels into one token of twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = LayerNorm(4 * width)
        self.reduction = Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Float[Tensor, "B tokens four_C"]) -> Float[Tensor, "B tokens two_C"]:
        """Merge."""
        merged: Tensor = self.reduction(self.norm(x))
        return merged


class Stage(nn.Module):
    """Blocks with alternately unshifted and shifted windows, then patch merging."""

    def __init__(
        self, width: int, heads: int, window: Triple, drops: Sequence[float], merge: bool
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, window, drop) for drop in drops)
        self.downsample = Merging(width) if merge else None

    def forward(self, x: Tensor, geometry: StageGeometry, recompute: bool) -> Tensor:
        """Run the blocks on tokens in the order of the first."""
        for j, block in enumerate(self.blocks):
            if j and geometry.between is not None:
                x = geometry.between[j % 2](x)
            windows = geometry.orders[j % len(geometry.orders)]
            args = (x, windows, geometry.positions)
            if recompute and torch.is_grad_enabled():
                x = checkpoint(block, *args, use_reentrant=False)
            else:
                x = block(*args)
        return x


class PatchEmbed(nn.Module):
    """Maps patches of frames to normalised tokens; a matrix product does the convolution."""

    def __init__(self, patch: Triple, width: int) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Conv3d(3, width, patch, patch)
        self.norm = LayerNorm(width)

    def unfold(
        self, frames: Float[Tensor, "B T 3 H W"]
    ) -> tuple[Float[Tensor, "B tokens pixels"], Triple]:
        """Return patches in raster order, each in the weights' order, and their map's size."""
        t, h, w = self.patch
        late, below, right = -frames.shape[1] % t, -frames.shape[3] % h, -frames.shape[4] % w
        if late or below or right:
            frames = functional.pad(frames, (0, right, 0, below, 0, 0, 0, late))
        clips, time, rows, columns = *frames.shape[:2], *frames.shape[3:]
        x = frames.reshape(clips, time // t, t, 3, rows // h, h, columns // w, w)
        # B, t', t, 3, h', h, w', w
        size = (int(x.shape[1]), int(x.shape[4]), int(x.shape[6]))  # traced sizes are tensors
        return x.permute(0, 1, 4, 6, 3, 2, 5, 7).flatten(4).flatten(1, 3), size

    def forward(self, patches: Float[Tensor, "B tokens pixels"]) -> Float[Tensor, "B tokens C"]:
        """Embed."""
        tokens: Tensor = self.norm(linear(patches, *cast(self.proj, patches.dtype)))
        return tokens


class Swin(nn.Module):
    """Video Swin's backbone.

    Args:
        patch: frames, rows and columns of a patch.
        width: channels of the first stage.
        depths: blocks of each stage.
        heads: attention heads of each stage.
        window: frames, rows and columns of a window, in patches.
        drop: stochastic depth of the last block in training, rising linearly from 0.
        recompute: gradient checkpointing: keep the blocks' inputs, and rerun them going back.

    Source: Video Swin Transformer (Liu et al., 2022), https://arxiv.org/abs/2106.13230; the same
        function as the authors' and torchvision's.
    """

    def __init__(
        self,
        *,
        patch: Triple,
        width: int,
        depths: Sequence[int],
        heads: Sequence[int],
        window: Triple,
        drop: float = 0.0,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.window, self.depths, self.recompute = window, tuple(depths), recompute
        self.patch_embed = PatchEmbed(patch, width)
        drops = [drop * i / (sum(depths) - 1) for i in range(sum(depths))]
        self.layers = nn.ModuleList()
        for i, (depth, n) in enumerate(zip(depths, heads, strict=True)):
            first = sum(depths[:i])
            self.layers.append(
                Stage(
                    width * 2**i,
                    n,
                    window,
                    drops[first : first + depth],
                    merge=i + 1 < len(depths),
                )
            )
        self.num_features = width * 2 ** (len(depths) - 1)
        self.norm = LayerNorm(self.num_features)
        self.geometries = nn.ModuleDict()
        for module in self.modules():
            if isinstance(module, Linear):
                nn.init.trunc_normal_(module.weight, std=SPREAD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def geometry(self, size: Triple) -> Geometry:
        """Return the orders and gathers for a map's size, cached."""
        name = "x".join(map(str, size))
        if name not in self.geometries:
            # Training may follow a first call in inference mode. The indices depend on values,
            # which a default device like "meta" does not have.
            with torch.inference_mode(False), torch.device("cpu"):
                made = Geometry(size, self.window, self.depths)
                self.geometries[name] = made.to(self.norm.weight.device)
        found = self.geometries[name]
        assert isinstance(found, Geometry)
        return found

    def forward(self, frames: Float[Tensor, "B T 3 H W"]) -> Float[Tensor, "B t h w C"]:
        """Return the normalised feature map of frames, in autocast's type if it is on."""
        device = frames.device.type
        dtype = self.norm.weight.dtype
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        with torch.autocast(device, enabled=False):
            return self._features(frames.to(dtype))

    def _features(self, frames: Tensor) -> Tensor:
        x, size = self.patch_embed.unfold(frames)
        geometry = self.geometry(size)
        merge: nn.Module = self.patch_embed
        for layer, stage in zip(self.layers, geometry.stages, strict=True):
            assert isinstance(layer, Stage)
            assert isinstance(stage, StageGeometry)
            x = merge(stage.together(x))
            x = layer(x, stage, self.recompute)
            merge = layer.downsample or merge
        y: Tensor = geometry.leave(self.norm(x))
        return torch.unflatten(y, 1, geometry.size)


__all__ = ["Swin"]
