"""Video Swin Transformer: 3-D shifted windows over patches of frames."""

import math
from dataclasses import dataclass
from typing import final

from jaxtyping import Float
from torch import Tensor, nn

from avbench.api import Batch, Encoder, EncoderContext, Register, Tokens, hookimpl, initialise

from ._images import Normalise
from ._weights import load_strictly, read_state


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoSwinOptions:
    """Options of Video Swin; the defaults are Swin-B, the paper's."""

    patch_size: tuple[int, int, int] = (2, 4, 4)
    """Frames, rows and columns of a patch."""
    embed_dim: int = 128
    """Channels of the first stage; each later stage doubles them."""
    depths: tuple[int, ...] = (2, 2, 18, 2)
    """Blocks of each stage."""
    num_heads: tuple[int, ...] = (4, 8, 16, 32)
    """Attention heads of each stage."""
    window_size: tuple[int, int, int] = (8, 7, 7)
    """Frames, rows and columns of a window, in patches."""
    stochastic_depth_prob: float = 0.1
    """Probability of skipping the last block in training; rises linearly from 0."""
    weights: str | None = None
    """A local file of weights in torchvision's layout, or of this encoder; None: scratch."""

    def __post_init__(self) -> None:
        if not self.depths or len(self.depths) != len(self.num_heads):
            raise ValueError(
                "depths and num_heads must have one entry a stage, "
                f"got {list(self.depths)} and {list(self.num_heads)}"
            )
        if min(*self.patch_size, *self.window_size, *self.depths, *self.num_heads) < 1:
            raise ValueError(f"sizes must be at least 1, got {self}")
        if sum(self.depths) < 2:
            raise ValueError(f"depths must sum to at least 2 blocks, got {list(self.depths)}")
        for stage, heads in enumerate(self.num_heads):
            if self.embed_dim * 2**stage % heads:
                raise ValueError(
                    f"num_heads[{stage}]={heads} must divide the stage's "
                    f"{self.embed_dim * 2**stage} channels"
                )
        if not 0 <= self.stochastic_depth_prob < 1:
            raise ValueError(
                f"stochastic_depth_prob must be in [0, 1), got {self.stochastic_depth_prob}"
            )


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

    Source: Video Swin Transformer (Liu et al., 2022), https://arxiv.org/abs/2106.13230, as
        torchvision implements it.
    """

    modality = "video"

    def __init__(self, options: VideoSwinOptions, context: EncoderContext) -> None:
        super().__init__()
        from torchvision.models.video.swin_transformer import SwinTransformer3d

        backbone = SwinTransformer3d(
            patch_size=list(options.patch_size),
            embed_dim=options.embed_dim,
            depths=list(options.depths),
            num_heads=list(options.num_heads),
            window_size=list(options.window_size),
            stochastic_depth_prob=options.stochastic_depth_prob,
        )
        del backbone.head, backbone.avgpool
        self.normalise = Normalise()
        self.backbone = backbone
        self.project = nn.Linear(backbone.num_features, context.D)
        initialise(self.project)
        self.n_tokens = math.prod(grid(options, context.input.frames, context.input.size))
        if options.weights is not None:
            self.load(options.weights)

    def load(self, path: str) -> None:
        """Load weights from a local file.

        Args:
            path: a whole state dict of this encoder, or of torchvision's model (its class head
                is left out, and the layer to D stays as it is).

        Raises:
            DataError: the file does not load or its tensors do not fit.
        """
        state = read_state(path)
        if any(name.startswith("backbone.") for name in state):
            load_strictly(self, state, where=path)
        else:
            load_strictly(
                self.backbone, state, where=path, ignore=lambda name: name.startswith("head.")
            )
        self.started_from = path

    def features(self, frames: Float[Tensor, "B T 3 H W"]) -> Float[Tensor, "B t h w C"]:
        """The backbone's normalised feature map of normalised frames."""
        x = self.backbone.patch_embed(frames.transpose(1, 2))
        x = self.backbone.features(self.backbone.pos_drop(x))
        normed: Tensor = self.backbone.norm(x)
        return normed

    def forward(self, batch: Batch) -> Tokens:
        """Encode the frames; tokens run over time, rows, columns."""
        features = self.features(self.normalise(batch.video))
        return Tokens(values=self.project(features.flatten(1, 3)))


def grid(options: VideoSwinOptions, frames: int, size: int) -> tuple[int, int, int]:
    """Tokens along time, rows and columns: patches, halved in space after each stage but one."""
    t, h, w = (
        math.ceil(n / p) for n, p in zip((frames, size, size), options.patch_size, strict=True)
    )
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
