"""The captioner: encoders → position and type embeddings → fusion → decoder (Sec. 3.1)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from avbench.core.components import ComponentRef
from avbench.core.errors import SuiteError
from avbench.core.options import make
from avbench.core.registry import Registry
from avbench.core.types import Batch, InputSpec, Modality, Tokens, View, ViewLoss
from avbench.data.tokenizer import PAD
from avbench.models.contracts import Encoder, EncoderContext, FusionContext, ModalityConfiguration
from avbench.models.decoder import Decoder
from avbench.models.settings import ModelSettings


class StreamEmbedding(nn.Module):
    """Adds a stream's position and token-type embeddings (Sec. 4.2, cross encoder)."""

    def __init__(self, lengths: Mapping[Modality, int], D: int) -> None:
        super().__init__()
        self.positions = nn.ParameterDict(
            {m: nn.Parameter(torch.empty(n, D)) for m, n in lengths.items()}
        )
        self.types = nn.ParameterDict({m: nn.Parameter(torch.empty(D)) for m in lengths})
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.02)

    def forward(self, stream: Modality, tokens: Tokens) -> Tokens:
        """Add them to the tokens, zeroed ones included."""
        kind = self.types[stream]
        values = tokens.values + self.positions[stream] + kind
        return Tokens(values=values, keep=tokens.keep, type_embedding=kind)


class Captioner(nn.Module):
    """An audio-visual captioner; all views of a batch share one run of the encoders.

    Attributes:
        encoders: one for each stream that is encoded.
        embedding: position and type embeddings of every stream, zeroed ones too.
        fusion: the cross-modal encoder.
        decoder: the caption decoder.
        precision: of matrix products, ``fp32`` or ``bf16`` (``avbench.models.compute``).
        configuration: which streams there are, and which of them are always zeroed.
    """

    def __init__(
        self,
        encoders: Mapping[Modality, nn.Module],
        embedding: StreamEmbedding,
        fusion: nn.Module,
        decoder: Decoder,
        *,
        configuration: ModalityConfiguration,
        zeroing: str,
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        self.embedding = embedding
        self.fusion = fusion
        self.decoder = decoder
        self.configuration = configuration
        self.zeroing = zeroing
        self.precision: Literal["fp32", "bf16"] = "fp32"

    @property
    def joint(self) -> View:
        """The view that keeps every encoded stream."""
        return frozenset(self.configuration.encoded)

    def autocast(self) -> torch.autocast:
        """Return the context of its precision, for a forward pass outside this class's methods."""
        device = self.embedding.types[self.configuration.streams[0]].device
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def encode(self, batch: Batch) -> dict[Modality, Tokens]:
        """Encode each stream of the configuration once."""
        with self.autocast():
            return {m: self.encoders[m](batch) for m in self.configuration.encoded}

    def fuse(self, encoded: Mapping[Modality, Tokens], views: Sequence[View]) -> Tokens:
        """Fuse several views in one pass.

        Returns:
            Fused tokens (len(views)·B, N, D), view by view.
        """
        with self.autocast():
            fused: Tokens = self.fusion(self.streams(encoded, views))
        return fused

    def streams(
        self, encoded: Mapping[Modality, Tokens], views: Sequence[View]
    ) -> dict[Modality, Tokens]:
        """Return the fusion's input: each stream with position and type embeddings, by view.

        A stream outside a view is replaced by zeros before position and type embeddings. It is
        attended to (Eq. 2), or hidden from attention with ``zeroing="mask"``.
        """
        example = next(iter(encoded.values())).values
        streams = {}
        for m in self.configuration.streams:
            shape = (example.shape[0], self.embedding.positions[m].shape[0], example.shape[2])
            zeros = Tokens(values=example.new_zeros(shape))
            if self.zeroing == "mask":
                hidden = torch.zeros(shape[:2], dtype=torch.bool, device=example.device)
                zeros = Tokens(values=zeros.values, keep=hidden)
            chosen = [encoded[m] if m in view else zeros for view in views]
            streams[m] = self.embedding(m, stack(chosen))
        return streams

    def forward(
        self,
        batch: Batch,
        views: Sequence[View],
        *,
        per: float | None = None,
        measured: Sequence[View] = (),
    ) -> dict[View, ViewLoss]:
        """Return the caption losses of a batch; the streams are encoded once.

        Args:
            batch: clips and their captions.
            views: the losses to train.
            per: the divisor of sums over target tokens; None: the batch's target tokens.
            measured: further losses, without gradients; measuring them changes nothing, not even
                the state of the random generators.
        """
        encoded = self.encode(batch)
        losses = self.losses(encoded, batch, views, per=per)
        if measured:
            device = self.embedding.types[self.configuration.streams[0]].device
            devices = [device] if device.type == "cuda" else []
            with torch.random.fork_rng(devices), torch.no_grad():
                losses |= self.losses(encoded, batch, measured, per=per)
        return losses

    def teach(
        self, encoded: Mapping[Modality, Tokens], batch: Batch, views: Sequence[View]
    ) -> Float[Tensor, "R L V"]:
        """Return teacher-forced logits of each caption in each view; R = len(views)·C rows."""
        fused = self.fuse(encoded, views)
        clips = batch.video.shape[0]
        offsets = torch.arange(len(views), device=batch.clip.device) * clips
        rows = (offsets[:, None] + batch.clip[None, :]).flatten()
        shared = batch.clip.shape[0] != clips
        with self.autocast():
            memory = self.decoder.project(fused, rows if shared else None)
            logits = self.decoder(batch.captions[:, :-1].repeat(len(views), 1), memory)
        taught: Tensor = logits
        return taught

    def losses(
        self,
        encoded: Mapping[Modality, Tokens],
        batch: Batch,
        views: Sequence[View],
        *,
        per: float | None = None,
    ) -> dict[View, ViewLoss]:
        """Return the caption loss of each view (Eq. 1 and 2), in nats per target token."""
        logits = self.teach(encoded, batch, views).chunk(len(views))
        targets = batch.captions[:, 1:]
        real = targets != PAD
        count = int(real.sum())
        per = count if per is None else per
        losses = {}
        for view, scores in zip(views, logits, strict=True):
            nats = functional.cross_entropy(
                scores.transpose(1, 2).float(), targets, ignore_index=PAD, reduction="none"
            )
            losses[view] = ViewLoss(
                nats=nats.sum() / per,
                token_probability=torch.exp(-nats.detach())[real].sum() / per,
                tokens=count,
            )
        return losses


def stack(views: Sequence[Tokens]) -> Tokens:
    """Stack one stream's tokens in several views along the batch."""
    if len(views) == 1:
        return views[0]
    values = torch.cat([t.values for t in views])
    if all(t.keep is None for t in views):
        return Tokens(values=values)
    keep = [
        t.values.new_ones(t.values.shape[:2], dtype=torch.bool) if t.keep is None else t.keep
        for t in views
    ]
    return Tokens(values=values, keep=torch.cat(keep))


def build_encoder(
    stream: Modality, ref: ComponentRef, context: EncoderContext, registry: Registry
) -> Encoder:
    """Build a stream's encoder.

    Raises:
        SuiteError: it reads another modality.
    """
    encoder: Encoder = make(registry.get("encoders", ref.name), ref.options, context)
    if encoder.modality != stream:
        raise SuiteError(
            f"model.encoders.{stream}: encoder '{ref.name}' reads '{encoder.modality}'"
        )
    return encoder


def build_captioner(
    model: ModelSettings,
    input: InputSpec,  # noqa: A002
    vocabulary: int,
    fusion: ComponentRef,
    modalities: ComponentRef,
    registry: Registry,
    *,
    encoder_of: Callable[[Modality, ComponentRef, EncoderContext, Registry], Encoder]
    | None = None,
) -> Captioner:
    """Build a captioner from settings; weights start from the global random state.

    Args:
        model: geometry.
        input: shapes of the inputs.
        vocabulary: V, rows of the word embedding.
        fusion: the fusion by name.
        modalities: the modality configuration by name.
        registry: the registered components.
        encoder_of: returns each stream's encoder; None: ``build_encoder``.

    Raises:
        SuiteError: the fusion refuses the streams, an encoder is missing, or an encoder that
            is named for one modality reads another.
    """
    encoder_of = encoder_of or build_encoder
    configuration: ModalityConfiguration = make(
        registry.get("modalities", modalities.name), modalities.options
    )
    fuser = registry.get("fusions", fusion.name)
    refusal = getattr(fuser.build, "refuses", lambda _: None)(configuration.streams)
    if refusal is not None:
        raise SuiteError(f"fusion '{fusion.name}' with modalities '{modalities.name}': {refusal}")
    context = EncoderContext(D=model.D, input=input, vocabulary=vocabulary, pad=PAD)
    lengths, encoders = {}, {}
    for stream in configuration.streams:
        if stream not in model.encoders:
            raise SuiteError(
                f"model.encoders: no encoder for '{stream}', which modalities "
                f"'{modalities.name}' needs; there are: {', '.join(model.encoders) or '(none)'}"
            )
        encoder = encoder_of(stream, model.encoders[stream], context, registry)
        lengths[stream] = encoder.n_tokens
        if stream in configuration.encoded:
            encoders[stream] = encoder
    fusion_context = FusionContext(
        streams=configuration.streams,
        D=model.D,
        heads=model.heads,
        layers=model.cross_layers,
        dropout=model.dropout,
    )
    return Captioner(
        encoders,
        StreamEmbedding(lengths, model.D),
        make(fuser, fusion.options, fusion_context),
        Decoder(
            model.D,
            model.heads,
            layers=model.decoder_layers,
            vocabulary=vocabulary,
            length=input.caption_tokens,
            dropout=model.dropout,
            norm=model.norm,
        ),
        configuration=configuration,
        zeroing=model.zeroing,
    )
