"""A timm image backbone, applied to each frame."""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from avbench.api import (
    Batch,
    DataError,
    Encoder,
    EncoderContext,
    InitialWeights,
    Number,
    Register,
    Tokens,
    hookimpl,
    initialise,
    unknown,
)

from ._images import Normalise
from ._weights import load_strictly, read_state, reason

HUB, FOLDER = "hf-hub:", "local-dir:"
"""timm's prefixes for names of models on the hub, and for folders of models."""


def published_name(text: str) -> bool:
    """Return True if a text has the form of a timm tag, or ``hf-hub:owner/name[@revision]``."""
    return text.startswith(HUB) or re.fullmatch(r"\w+", text) is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class TimmFramesOptions:
    """Options of the frame-wise image backbone."""

    name: str = "resnet18"
    """Name of the architecture in timm."""
    grid: Annotated[int, Number(unit="tokens", least=1, most=1024)] = 1
    """Tokens of a frame along each side. 1: the architecture's own pooling before its classifier;
    more: the last feature map, averaged over a grid×grid raster."""
    pretrained: Annotated[str | None, InitialWeights(named=published_name)] = None
    """A local file of weights in timm's layout, or a folder with such a file and the
    ``config.json`` that timm saves beside it; a tag of the architecture's weights in timm's list,
    e.g. ``a1_in1k``; or ``hf-hub:owner/name[@revision]``. None: scratch."""
    batch_norm: Literal["frozen", "batch"] = "frozen"
    """Statistics of BatchNorm in training. ``frozen``: those of the weights, so that a clip's
    tokens do not depend on its batch; scale and shift still learn. ``batch``: the batch's, which
    micro-batches and processes change; for training from scratch."""


@final
class TimmFrames(Encoder):
    """An image backbone per frame, pooled, with temporal position embeddings.

    Frames are normalised as the architecture's weights expect. Tokens are in the order of time,
    then rows and columns of the pooled map.

    Args:
        options: the architecture and its weights.
        context: the model's geometry.

    Raises:
        DataError: timm does not know the architecture, it gives no feature map, or the weights
            do not fit.

    Source: PyTorch Image Models (Wightman, 2019),
        https://github.com/huggingface/pytorch-image-models. Beyond the paper, which uses Video
        Swin alone.
    """

    modality = "video"

    def __init__(self, options: TimmFramesOptions, context: EncoderContext) -> None:
        super().__init__()
        import timm

        if not timm.is_model(options.name):
            raise DataError(
                f"timm_frames: {unknown('timm model', options.name, timm.list_models())[:400]}"
            )
        config: Any = timm.get_pretrained_cfg(options.name)
        # Only architectures with position tables take the size of the frames.
        size: dict[str, Any] = {"img_size": context.input.size} if config.fixed_input_size else {}
        backbone: Any = timm.create_model(options.name, pretrained=False, num_classes=0, **size)
        self.backbone = backbone
        self.normalise = Normalise(config.mean, config.std)
        self.grid = options.grid
        self.frozen = options.batch_norm == "frozen"
        # A pooled frame has passed the layers between map and classifier; a map has not.
        width = backbone.head_hidden_size if options.grid == 1 else backbone.num_features
        self.project = nn.Linear(width, context.D)
        initialise(self.project)
        self.positions = nn.Parameter(0.02 * torch.randn(context.input.frames, 1, context.D))
        self.layout = (context.input.frames, options.grid, options.grid)
        self.n_tokens = math.prod(self.layout)
        if options.pretrained is not None:
            path = Path(options.pretrained)
            if path.is_dir() or (not path.is_file() and published_name(options.pretrained)):
                state, where = published(options, config, size)
                self.started_from = (
                    f"{path.name} (local folder)" if path.is_dir() else f"{where} (timm)"
                )
            else:
                state, where = read_state(options.pretrained), options.pretrained
                self.started_from = f"{path.name} (timm's layout)"
            heads = (
                (config.classifier,) if isinstance(config.classifier, str) else config.classifier
            )
            prefixes = tuple(f"{head}." for head in heads or ())
            load_strictly(
                self.backbone,
                state,
                where=where,
                ignore=lambda name: name.startswith(prefixes),
            )

    def train(self, mode: bool = True) -> "TimmFrames":
        """Set the mode; frozen statistics stay as they are."""
        super().train(mode)
        for module in self.backbone.modules() if self.frozen else ():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def forward(self, batch: Batch) -> Tokens:
        """Encode the frames to (B, T·grid², D)."""
        clips, frames = batch.video.shape[:2]
        images = self.normalise(batch.video).flatten(0, 1)
        if self.grid == 1:
            pooled = self.backbone(images)[:, None]
        else:
            pooled = pool(self._map(images), self.grid)
        tokens = self.project(pooled).unflatten(0, (clips, frames)) + self.positions
        return Tokens(values=tokens.flatten(1, 2))

    def _map(self, images: Float[Tensor, "K 3 H W"]) -> Float[Tensor, "K C h w"]:
        """Return the last feature map, from any order of axes."""
        maps: Tensor = self.backbone.forward_features(images)
        if maps.ndim == 3:
            patches = maps[:, self.backbone.num_prefix_tokens :].transpose(1, 2)
            side = math.isqrt(patches.shape[2])
            return patches.reshape(*patches.shape[:2], side, side)
        return maps.movedim(-1, 1) if maps.shape[1] != self.backbone.num_features else maps


def published(
    options: TimmFramesOptions, config: Any, size: dict[str, Any]
) -> tuple[dict[str, Tensor], str]:
    """Return weights that timm downloads or finds in a folder, and their full name.

    Args:
        options: the architecture and the weights' name.
        config: timm's description of the architecture's own weights.
        size: the architecture's arguments about the size of the frames.

    Raises:
        DataError: no weights have that name, they do not load, belong to another architecture,
            or expect another normalisation of frames.
    """
    import timm

    asked = str(options.pretrained)
    base = options.name.partition(".")[0]
    name = asked
    if Path(asked).is_dir():
        name = FOLDER + asked
    elif not asked.startswith(HUB):
        tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{base}.*")]
        if asked not in tags:
            raise DataError(
                f"timm_frames: there is no file {asked}, and "
                f"{unknown(f'tag of {base}', asked, tags)}"
            )
        name = f"{base}.{asked}"
    shown = name.removeprefix(FOLDER)
    try:
        # Checked first: another architecture may not even take the same arguments.
        of = architecture(name)
        model: Any = timm.create_model(name, pretrained=True, **size) if of == base else None
    except Exception as error:  # by files, the hub, HTTP or timm
        raise DataError(
            f"timm_frames: weights '{shown}' do not load: {reason(error)}\nAllowed: a local file, "
            "a folder with config.json and the weights, or published weights and a connection to "
            "where they lie"
        ) from error
    if model is None:
        raise DataError(f"timm_frames: weights '{shown}' are of {of}, name is '{base}'")
    theirs = model.pretrained_cfg
    if (tuple(theirs["mean"]), tuple(theirs["std"])) != (config.mean, config.std):
        full = f"{base}.{theirs.get('tag') or asked}"
        raise DataError(
            f"timm_frames: weights '{shown}' expect frames of mean {tuple(theirs['mean'])} and "
            f"deviation {tuple(theirs['std'])}, '{options.name}' has {config.mean} and "
            f"{config.std}; use the name '{full}'"
        )
    return model.state_dict(), shown


def architecture(name: str) -> str:
    """Return the architecture of weights, from timm's name for them."""
    from timm.models import load_model_config_from_hf

    if name.startswith(FOLDER):
        text = (Path(name.removeprefix(FOLDER)) / "config.json").read_text(encoding="utf-8")
        return str(json.loads(text)["architecture"])
    if name.startswith(HUB):
        return str(load_model_config_from_hf(name.removeprefix(HUB))[1])
    return name.partition(".")[0]


def pool(maps: Float[Tensor, "K C h w"], grid: int) -> Float[Tensor, "K N C"]:
    """Average a map over a grid×grid raster, one token for each square."""
    return functional.adaptive_avg_pool2d(maps, grid).flatten(2).transpose(1, 2)


@hookimpl
def register_encoders(register: Register) -> None:
    """Register the frame-wise image backbone."""
    register(
        "timm_frames",
        TimmFrames,
        config=TimmFramesOptions,
        source="Wightman 2019, https://github.com/huggingface/pytorch-image-models",
    )
