"""BERT over the ASR text of a clip."""

from dataclasses import dataclass
from typing import Any, final

from torch import nn

from avbench.api import (
    Batch,
    DataError,
    Encoder,
    EncoderContext,
    Register,
    Tokens,
    hookimpl,
    initialise,
)

HEADS = ("cls.", "pooler.", "bert.pooler.", "classifier.")
"""Prefixes of what published checkpoints hold beside the encoder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BertOptions:
    """Options of BERT; the defaults are BERT-base, the paper's."""

    layers: int = 12
    heads: int = 12
    width: int | None = None
    """Channels of its layers; None: the model's D."""
    ratio: int = 4
    """Width of the feed-forward block over width."""
    dropout: float = 0.1
    pretrained: str | None = None
    """A local folder or a hub name; its own geometry then holds. None: scratch."""

    def __post_init__(self) -> None:
        if min(self.layers, self.heads, self.ratio) < 1:
            raise ValueError(f"layers, heads and ratio must be at least 1, got {self}")
        if self.width is not None and self.width % self.heads:
            raise ValueError(f"heads must divide width, got {self.heads} and {self.width}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")


@final
class Bert(Encoder):
    """BERT, in place of or beside the audio encoder (Sec. 4.3, V+T and V+A+T).

    Padding is masked. A clip without speech is all padding: its tokens are then hidden from
    every attention after it.

    Args:
        options: geometry, or where the weights come from.
        context: the model's geometry.

    Raises:
        DataError: the weights do not load, are not whole, or belong to another vocabulary.

    Source: BERT (Devlin et al., 2019), https://arxiv.org/abs/1810.04805, as transformers
        implements it, without the pooler.
    """

    modality = "text"

    def __init__(self, options: BertOptions, context: EncoderContext) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        if options.pretrained is None:
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
            self.model = BertModel(config, add_pooling_layer=False)
        else:
            self.model, width = pretrained(options.pretrained, context)
            self.started_from = options.pretrained
        self.project = nn.Identity() if width == context.D else nn.Linear(width, context.D)
        initialise(self.project)
        self.pad = context.pad
        self.n_tokens = context.input.speech_tokens

    def forward(self, batch: Batch) -> Tokens:
        """Encode the ids of the ASR text."""
        keep = batch.text != self.pad
        hidden = self.model(input_ids=batch.text, attention_mask=keep.long()).last_hidden_state
        return Tokens(values=self.project(hidden), keep=keep)


def pretrained(source: str, context: EncoderContext) -> tuple[Any, int]:
    """Load a BERT model whole; only the heads of its training may be left over.

    Returns:
        The model and the width of its tokens.

    Raises:
        DataError: see ``Bert``.
    """
    from transformers import BertModel

    load: Any = BertModel.from_pretrained
    try:
        model, report = load(
            source,
            add_pooling_layer=False,
            attn_implementation="sdpa",
            weights_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"bert: weights '{source}' do not load: {error}") from error
    surplus = [k for k in report["unexpected_keys"] if not k.startswith(HEADS)]
    found = {
        "missing": sorted(report["missing_keys"]),
        "surplus": sorted(surplus),
        "mis-shaped": sorted(str(k[0]) for k in report["mismatched_keys"]),
    }
    listed = [f"{kind}: {', '.join(names)}" for kind, names in found.items() if names]
    if listed:
        raise DataError(f"bert: weights '{source}' do not fit; {'; '.join(listed)}")
    config = model.config
    if config.vocab_size != context.vocabulary:
        raise DataError(
            f"bert: weights '{source}' know {config.vocab_size} tokens, the tokenizer has "
            f"{context.vocabulary}; give the suite the model's own vocabulary file"
        )
    if config.max_position_embeddings < context.input.speech_tokens:
        raise DataError(
            f"bert: weights '{source}' know {config.max_position_embeddings} positions, "
            f"speech_tokens is {context.input.speech_tokens}"
        )
    return model, config.hidden_size


@hookimpl
def register_encoders(register: Register) -> None:
    """Register BERT."""
    register(
        "bert",
        Bert,
        config=BertOptions,
        source="Devlin et al. 2019, https://arxiv.org/abs/1810.04805",
    )
