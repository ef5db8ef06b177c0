"""Our decoder's weights in Hugging Face's own decoder, and its beam search: what to compare with.

Pre-norm decoders are MBART's, post-norm ones BART's, both without the norm of the embeddings that
ours lacks. As a user would have them: attention by SDPA, keys and values in the default cache.
"""

import torch
from torch import Tensor, nn
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    MBartConfig,
    MBartForConditionalGeneration,
)
from transformers.modeling_outputs import BaseModelOutput

KINDS = {
    "pre": (MBartConfig, MBartForConditionalGeneration),
    "post": (BartConfig, BartForConditionalGeneration),
}


class HuggingFace:
    """A decoder in Hugging Face's form.

    Args:
        decoder: ours; its weights are copied.
        bos: id that starts a caption.
        eos: id that ends one.
    """

    @torch.no_grad()
    def __init__(self, decoder, *, bos: int, eos: int) -> None:
        first = decoder.layers[0]
        Config, Model = KINDS[first.norm]
        config = Config(
            vocab_size=decoder.words.num_embeddings,
            d_model=decoder.words.embedding_dim,
            max_position_embeddings=decoder.positions.num_embeddings,
            encoder_layers=1,  # Not run: its output is given.
            encoder_ffn_dim=1,
            encoder_attention_heads=1,
            decoder_layers=len(decoder.layers),
            decoder_ffn_dim=first.feed_forward[0].out_features,
            decoder_attention_heads=first.self_attention.heads,
            attn_implementation="sdpa",
            pad_token_id=0,
            bos_token_id=bos,
            eos_token_id=eos,
            decoder_start_token_id=bos,
            forced_eos_token_id=None,
        )
        self.model = Model(config)
        theirs = self.model.model.decoder
        theirs.layernorm_embedding = nn.Identity()
        _load(self.model.model.shared, decoder.words)  # Tied to the decoder's, and to the output.
        theirs.embed_positions.weight[theirs.embed_positions.offset :] = decoder.positions.weight
        for layer, ours in zip(theirs.layers, decoder.layers, strict=True):
            _load_attention(layer.self_attn, ours.self_attention)
            _load_attention(layer.encoder_attn, ours.cross_attention)
            norms = (layer.self_attn_layer_norm, layer.encoder_attn_layer_norm)
            for norm, given in zip((*norms, layer.final_layer_norm), ours.norms, strict=True):
                _load(norm, given)
            _load(layer.fc1, ours.feed_forward[0])
            _load(layer.fc2, ours.feed_forward[2])
        if first.norm == "pre":
            _load(theirs.layer_norm, decoder.final_norm)
        self.model.to(decoder.words.weight.dtype).eval()

    def search(self, fused, *, length: int, beam: int, **options) -> Tensor:
        """``generate``: sequences (B, ≤ length); ``scored`` gives their scores too."""
        return self._generate(fused, length, beam, options)

    def scored(self, fused, *, length: int, beam: int, **options) -> tuple[Tensor, Tensor]:
        """Sequences, and the scores that a beam of two or more gives them."""
        options |= {"return_dict_in_generate": True, "output_scores": True}
        found = self._generate(fused, length, beam, options)
        return found.sequences, found.sequences_scores

    def _generate(self, fused, length, beam, options):
        keep = torch.ones(fused.values.shape[:2]) if fused.keep is None else fused.keep
        return self.model.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=fused.values),
            attention_mask=keep.long(),
            num_beams=beam,
            do_sample=False,
            max_length=length,
            **options,
        )


def _load(theirs: nn.Module, ours: nn.Module) -> None:
    theirs.load_state_dict(ours.state_dict())


def _load_attention(theirs: nn.Module, ours: nn.Module) -> None:
    _load(theirs.q_proj, ours.query)
    _load(theirs.out_proj, ours.out)
    for name in ("weight", "bias"):
        halves = getattr(ours.key_value, name).chunk(2)
        for projection, half in zip((theirs.k_proj, theirs.v_proj), halves, strict=True):
            getattr(projection, name).copy_(half)
