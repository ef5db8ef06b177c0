"""Video Swin Transformer: 3-D shifted windows over patches of frames."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, final

from jaxtyping import Float
from torch import Tensor

from avbench.api import (
    Batch,
    Encoder,
    EncoderContext,
    InitialWeights,
    Linear,
    Number,
    Register,
    Tokens,
    hookimpl,
    initialise,
)

from ._images import Normalise
from ._swin import Swin
from ._swin_weights import load, published_name

Side = Annotated[
    int, Number(unit="pixels, frames or patches", least=1, most=4096, source="App. A")
]


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoSwinOptions:
    """Options of Video Swin; the defaults are Swin-B, the paper's."""

    patch_size: tuple[Side, Side, Side] = (2, 4, 4)
    """Frames, rows and columns of a patch."""
    embed_dim: Annotated[int, Number(unit="channels", least=1, most=65536, source="App. A")] = 128
    """Channels of the first stage; each later stage doubles them."""
    depths: tuple[
        Annotated[int, Number(unit="blocks", least=1, most=1000, source="App. A")], ...
    ] = (2, 2, 18, 2)
    """Blocks of each stage."""
    num_heads: tuple[
        Annotated[int, Number(unit="heads", least=1, most=1024, source="App. A")], ...
    ] = (4, 8, 16, 32)
    """Attention heads of each stage."""
    window_size: tuple[Side, Side, Side] = (8, 7, 7)
    """Frames, rows and columns of a window, in patches."""
    stochastic_depth_prob: Annotated[float, Number(unit="share", least=0, below=1)] = 0.1
    """Probability of skipping the last block in training; rises linearly from 0."""
    weights: Annotated[
        str | None, InitialWeights(named=published_name, also=("resize_tables",))
    ] = None
    """A local file in the authors' layout, torchvision's or avbench's; or the name of weights that
    torchvision publishes, e.g. ``Swin3D_B_Weights.KINETICS400_V1``, with or without
    ``torchvision:`` before it. None: scratch."""
    resize_tables: bool = False
    """True: fit the bias tables of weights for windows of more or fewer frames (the authors' for
    Something-Something V2 have 16×7×7). A shorter window keeps their middle, which is exact; a
    longer one stretches them linearly. False: refuse such weights."""
    checkpoint: bool = False
    """Gradient checkpointing: training keeps only the blocks' inputs and runs each block again in
    the backward pass: the same gradients for less memory and a third more work."""

    def __post_init__(self) -> None:
        if not self.depths or len(self.depths) != len(self.num_heads):
            raise ValueError(
                "depths and num_heads must have one entry a stage, "
                f"got {list(self.depths)} and {list(self.num_heads)}"
            )
        if sum(self.depths) < 2:
            raise ValueError(f"depths must sum to at least 2 blocks, got {list(self.depths)}")
        for stage, heads in enumerate(self.num_heads):
            if self.embed_dim * 2**stage % heads:
                raise ValueError(
                    f"num_heads[{stage}]={heads} must divide the stage's "
                    f"{self.embed_dim * 2**stage} channels"
                )


def video_swin_macs(
    input_size: Sequence[int],
    *,
    patch_size: Sequence[int],
    embed_dim: int,
    depths: Sequence[int],
    window_size: Sequence[int],
    ratio: int = 4,
    out: int | None = None,
) -> int:
    """Return the MACs of Video Swin: patches, windowed attention, merging between stages.

    A block of n tokens of C channels, of which N after padding to whole windows of w tokens,
    costs 4·N·C² + 2·N·w·C + 2·ratio·n·C². A window is no longer than the map along any axis.

    Args:
        input_size: frames, rows and columns.
        patch_size: frames, rows and columns of a patch.
        embed_dim: channels of the first stage; each later one has twice as many.
        depths: blocks of each stage.
        window_size: frames, rows and columns of a window, in tokens.
        ratio: width of the feed-forward blocks over their channels.
        out: width that a last layer maps the tokens to; None: no such layer.
    """
    t, h, w = (math.ceil(n / p) for n, p in zip(input_size, patch_size, strict=True))
    macs = t * h * w * 3 * math.prod(patch_size) * embed_dim
    C = embed_dim
    for stage, depth in enumerate(depths):
        if stage:  # four neighbours in space become one token: 4C → 2C
            h, w = math.ceil(h / 2), math.ceil(w / 2)
            macs += t * h * w * 8 * C**2
            C *= 2
        window = [min(n, m) for n, m in zip(window_size, (t, h, w), strict=True)]
        padded = math.prod(m * math.ceil(n / m) for n, m in zip((t, h, w), window, strict=True))
        attention = 4 * padded * C**2 + 2 * padded * math.prod(window) * C
        macs += depth * (attention + 2 * ratio * t * h * w * C**2)
    return macs + (0 if out is None else t * h * w * C * out)


@final
class VideoSwin(Encoder):
    """Video Swin Transformer without its head, then a linear layer to D (Sec. 4.2).

    Frames are normalised by ImageNet's mean and standard deviation on the device. At 16×224×224
    Swin-B gives 8×7×7 tokens of 1024 channels.

    Args:
        options: geometry and weights.
        context: the model's geometry.

    Raises:
        DataError: the weights do not load or do not fit.

    Source: Video Swin Transformer (Liu et al., 2022), https://arxiv.org/abs/2106.13230. The same
        function as the authors' and torchvision's code.
    """

    modality = "video"
    own_attention = "windows"

    def __init__(self, options: VideoSwinOptions, context: EncoderContext) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.backbone = Swin(
            patch=options.patch_size,
            width=options.embed_dim,
            depths=options.depths,
            heads=options.num_heads,
            window=options.window_size,
            drop=options.stochastic_depth_prob,
            recompute=options.checkpoint,
        )
        self.project = Linear(self.backbone.num_features, context.D)
        initialise(self.project)
        self.layout = grid(options, context.input.frames, context.input.size)
        self.n_tokens = math.prod(self.layout)
        # Made here, so that no compiled call has to.
        self.backbone.geometry(patches(options, context.input.frames, context.input.size))
        self.resize_tables = options.resize_tables
        if options.weights is not None:
            self.load(options.weights)

    def load(self, weights: str) -> None:
        """Load weights; in avbench's layout, the layer to D too.

        Args:
            weights: see ``VideoSwinOptions.weights``.

        Raises:
            DataError: they do not load or do not fit; then nothing is loaded.
        """
        self.started_from = load(self, self.backbone, weights, resize=self.resize_tables)

    def features(self, frames: Float[Tensor, "B T 3 H W"]) -> Float[Tensor, "B t h w C"]:
        """Return the backbone's normalised feature map of normalised frames."""
        map_: Tensor = self.backbone(frames)
        return map_

    @classmethod
    def closed_form(cls, options: VideoSwinOptions, context: EncoderContext) -> int:
        """Return the MACs of patches, blocks, merging between stages, and the layer to D."""
        i = context.input
        return video_swin_macs(
            (i.frames, i.size, i.size),
            patch_size=options.patch_size,
            embed_dim=options.embed_dim,
            depths=options.depths,
            window_size=options.window_size,
            out=context.D,
        )

    def forward(self, batch: Batch) -> Tokens:
        """Encode the frames to tokens in the order of time, rows, columns."""
        features = self.features(self.normalise(batch.video))
        return Tokens(values=self.project(features.flatten(1, 3)))


def patches(options: VideoSwinOptions, frames: int, size: int) -> tuple[int, int, int]:
    """Return the patches along time, rows and columns; the last of each may be part padding."""
    t, h, w = options.patch_size
    return math.ceil(frames / t), math.ceil(size / h), math.ceil(size / w)


def grid(options: VideoSwinOptions, frames: int, size: int) -> tuple[int, int, int]:
    """Return the tokens along time, rows and columns; all stages but the last halve space."""
    t, h, w = patches(options, frames, size)
    for _ in options.depths[1:]:
        h, w = math.ceil(h / 2), math.ceil(w / 2)
    return t, h, w


@hookimpl
def register_encoders(register: Register) -> None:
    """Register Video Swin."""
    register(
        "video_swin",
        VideoSwin,
        config=VideoSwinOptions,
        source="Liu et al. 2022, https://arxiv.org/abs/2106.13230",
    )
