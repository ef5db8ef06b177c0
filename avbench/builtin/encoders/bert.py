"""BERT over the ASR text of a clip."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, final

from torch import Tensor, nn

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
)

from ._layers import heads_fault, transformer_encoder_macs
from ._weights import reason

HEADS = ("cls.", "pooler.", "bert.pooler.", "classifier.")
"""Prefixes of the tensors in published checkpoints that are not the encoder's."""

TABLES = ("embeddings.position_embeddings.weight", "embeddings.token_type_embeddings.weight")
"""Tables cut to the rows in use: without positions of longer texts, or a second sentence."""

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Files of weights in a model's folder, in transformers' order."""

FILES = (".bin", ".ckpt", ".json", ".pt", ".pth", ".safetensors", ".txt")
"""Suffixes of texts that name a file, not a model of the hub."""


def hub_name(text: str) -> bool:
    """Return True if a text has the form of a Hugging Face model: ``name`` or ``owner/name``."""
    word = r"[A-Za-z0-9][\w.-]*"
    return re.fullmatch(f"{word}(/{word})?", text) is not None and not text.endswith(FILES)


def words_beside(folder: Path) -> Path | None:
    """Return the vocabulary file in the folder of a Hugging Face model, or None."""
    return first_of(folder, ("vocab.txt", "tokenizer.json"))


def first_of(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the first of some files that exists in a folder, or None."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class BertOptions:
    """Options of BERT; the defaults are BERT-base, the paper's."""

    layers: Annotated[
        int, Number(unit="layers", least=1, most=1000, source="Devlin et al., 2019")
    ] = 12
    heads: Annotated[
        int, Number(unit="heads", least=1, most=1024, source="Devlin et al., 2019")
    ] = 12
    width: Annotated[int, Number(unit="channels", least=1, most=65536)] | None = None
    """Channels of its layers; None: the model's D."""
    ratio: Annotated[
        int, Number(unit="factor", least=1, most=1000, source="Devlin et al., 2019")
    ] = 4
    """Width of the feed-forward block over width."""
    dropout: Annotated[
        float, Number(unit="share", least=0, below=1, source="Devlin et al., 2019")
    ] = 0.1
    pretrained: Annotated[
        str | None, InitialWeights(named=hub_name, also=("revision",), words=words_beside)
    ] = None
    """A local folder of a Hugging Face model, or a model's name there; the other options must
    state its geometry, and the suite's ``vocabulary.file`` must be its own. None: scratch."""
    revision: str | None = None
    """Branch, tag or commit of a named model; None: its main branch, which may move."""

    def __post_init__(self) -> None:
        fault = heads_fault(self.width, self.heads) if self.width is not None else None
        if fault is not None:
            raise ValueError(fault)
        if self.revision is not None and self.pretrained is None:
            raise ValueError(f"revision is of pretrained, which is not set; got {self.revision}")

    def width_fault(self, D: int) -> str | None:
        """Return why the encoder cannot have the model's width, or None."""
        return heads_fault(self.width or D, self.heads)


@final
class Bert(Encoder):
    """BERT, in place of or beside the audio encoder (Sec. 4.3, V+T and V+A+T).

    Padding is masked. A clip without speech is all padding, and its tokens are hidden from all
    later attention.

    It does not add [CLS] and [SEP], which enclosed the sentences of published weights: the fusion
    reads the tokens of words, not a pooled sentence; training updates all of BERT; and a clip
    without speech would have tokens to attend to.

    Args:
        options: geometry, and initial weights.
        context: the model's geometry.

    Raises:
        DataError: the weights do not load, are incomplete, differ in geometry from the options,
            or belong to another vocabulary.

    Source: BERT (Devlin et al., 2019), https://arxiv.org/abs/1810.04805, as transformers
        implements it, without the pooler.
    """

    modality = "text"
    own_attention = "sdpa"

    def __init__(self, options: BertOptions, context: EncoderContext) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        width = options.width or context.D
        config = BertConfig(
            vocab_size=context.vocabulary,
            hidden_size=width,
            num_hidden_layers=options.layers,
            num_attention_heads=options.heads,
            intermediate_size=options.ratio * width,
            hidden_dropout_prob=options.dropout,
            attention_probs_dropout_prob=options.dropout,
            max_position_embeddings=context.input.speech_tokens,
            type_vocab_size=1,
            pad_token_id=context.pad,
        )
        config._attn_implementation = "sdpa"
        self.model: Any = BertModel(config, add_pooling_layer=False)
        if options.pretrained is not None:
            self.model.load_state_dict(pretrained(options.pretrained, options.revision, config))
            self.started_from = started_from(options)
        self.project = nn.Identity() if width == context.D else nn.Linear(width, context.D)
        initialise(self.project)
        self.pad = context.pad
        self.n_tokens = context.input.speech_tokens

    @classmethod
    def closed_form(cls, options: BertOptions, context: EncoderContext) -> int:
        """Return the MACs of the layers, and of the linear layer to D if the width differs."""
        return transformer_encoder_macs(
            options.width or context.D,
            context.input.speech_tokens,
            layers=options.layers,
            out=context.D,
            ratio=options.ratio,
        )

    def forward(self, batch: Batch) -> Tokens:
        """Encode the ids of the ASR text."""
        keep = batch.text != self.pad
        hidden = self.model(input_ids=batch.text, attention_mask=keep.long()).last_hidden_state
        return Tokens(values=self.project(hidden), keep=keep)


def pretrained(source: str, revision: str | None, wanted: Any) -> dict[str, Tensor]:
    """Return the tensors of a published BERT; only the heads of its training may be surplus.

    Args:
        source: a local folder, or a name on the hub.
        revision: revision of a named model.
        wanted: the ``BertConfig`` of the receiving model.

    Returns:
        Tensors by name, with tables cut to the model's rows.

    Raises:
        DataError: see ``Bert``.
    """
    from transformers import BertConfig, BertModel

    read: Any = BertConfig.from_pretrained
    load: Any = BertModel.from_pretrained
    revision, folder = revision or "main", Path(source)
    file = first_of(folder, ("config.json",))
    try:
        config = read(source, revision=revision)
        file = first_of(folder, WEIGHTS)
        model, report = load(
            source,
            config=config,
            revision=revision,
            add_pooling_layer=False,
            weights_only=True,
            ignore_mismatched_sizes=True,  # refused below, with all other differences
            output_loading_info=True,
        )
    except Exception as error:  # by transformers, pickle, safetensors or the hub
        raise DataError(
            f"bert: weights '{file or source}' do not load: {reason(error)}\nAllowed: a local "
            "folder with config.json and the weights, or a model's name on the hub and a "
            "connection to it"
        ) from error
    surplus = [k for k in report["unexpected_keys"] if not k.startswith(HEADS)]
    found = {
        "missing": sorted(report["missing_keys"]),
        "surplus": sorted(surplus),
        "mis-shaped": sorted(
            f"{name} (got {tuple(got)}, wanted {tuple(shape)})"
            for name, got, shape in report["mismatched_keys"]
        ),
    }
    listed = [f"{kind}: {', '.join(names)}" for kind, names in found.items() if names]
    if listed:
        raise DataError(f"bert: weights '{source}' do not fit; {'; '.join(listed)}")
    _check_geometry(source, config, wanted)
    state: Mapping[str, Tensor] = model.state_dict()
    used = (wanted.max_position_embeddings, wanted.type_vocab_size)
    rows = dict(zip(TABLES, used, strict=True))
    return {name: t[: rows[name]] if name in rows else t for name, t in state.items()}


def _check_geometry(source: str, theirs: Any, wanted: Any) -> None:
    """Check that a published model is the one that the options describe.

    Raises:
        DataError: it differs; the message names the differences.
    """
    if theirs.vocab_size != wanted.vocab_size:
        raise DataError(
            f"bert: weights '{source}' know {theirs.vocab_size} tokens, the tokenizer has "
            f"{wanted.vocab_size}; give the suite the model's own vocabulary file"
        )
    if theirs.max_position_embeddings < wanted.max_position_embeddings:
        raise DataError(
            f"bert: weights '{source}' know {theirs.max_position_embeddings} positions, "
            f"speech_tokens is {wanted.max_position_embeddings}"
        )
    pairs = {
        "layers": (theirs.num_hidden_layers, wanted.num_hidden_layers),
        "heads": (theirs.num_attention_heads, wanted.num_attention_heads),
        "width": (theirs.hidden_size, wanted.hidden_size),
        "ratio": (
            theirs.intermediate_size / theirs.hidden_size,
            wanted.intermediate_size / wanted.hidden_size,
        ),
    }
    differ = [f"{k} {a:g}, the options say {b:g}" for k, (a, b) in pairs.items() if a != b]
    if differ:
        raise DataError(
            f"bert: weights '{source}' have {'; '.join(differ)}: give the encoder theirs"
        )
    for name in ("hidden_act", "layer_norm_eps"):
        if getattr(theirs, name) != getattr(wanted, name):
            raise DataError(
                f"bert: weights '{source}' were made with {name} {getattr(theirs, name)}, "
                f"this encoder has {getattr(wanted, name)}"
            )


def started_from(options: BertOptions) -> str:
    """Return the tables' text about the weights, which names a local folder by its name."""
    source = str(options.pretrained)
    if Path(source).is_dir():
        return f"{Path(source).name} (local folder)"
    return f"{source} (Hugging Face{', ' + options.revision if options.revision else ''})"


@hookimpl
def register_encoders(register: Register) -> None:
    """Register BERT."""
    register(
        "bert",
        Bert,
        config=BertOptions,
        source="Devlin et al. 2019, https://arxiv.org/abs/1810.04805",
    )
