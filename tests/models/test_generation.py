"""Beam search against Hugging Face's, a naive one, exhaustive search and the decoder's scores."""

import itertools

import pytest
import torch

from avbench.api import Tokens
from avbench.models.decoder import BeamCache, Decoder
from avbench.models.generation import beam_search
from tests.huggingface import HuggingFace

BOS, EOS = 2, 1


def make(
    seed: int, *, V: int = 6, length: int = 6, norm: str = "pre", eager: float = 0.0
) -> Decoder:
    """A random decoder in float64, far from uniform; ``eager`` adds to the logit of EOS."""
    torch.manual_seed(seed)
    made = Decoder(16, 2, layers=2, vocabulary=V, length=length, dropout=0.1, norm=norm)
    for parameter in made.parameters():
        parameter.data.mul_(8)
    made.positions.weight.data.mul_(3)
    last = made.final_norm if norm == "pre" else made.layers[-1].norms[2]
    last.weight.data.fill_(3.0)
    # The first coordinate of the last state speaks for EOS alone.
    last.bias.data[0] = eager
    made.words.weight.data[:, 0] = 0.0
    made.words.weight.data[EOS, 0] = 1.0
    return made.double().eval()


def draw(clips: int, *, padded: bool = False) -> Tokens:
    """Fused tokens, from the global random state; ``padded`` hides some, and fills them."""
    values = torch.randn(clips, 5, 16, dtype=torch.float64)
    if not padded:
        return Tokens(values=values)
    keep = torch.arange(5) < torch.randint(1, 6, (clips, 1))
    return Tokens(values=values.masked_fill(~keep[:, :, None], 1e3), keep=keep)


@pytest.fixture
def decoder() -> Decoder:
    return make(3)


@pytest.fixture
def fused(decoder) -> Tokens:
    return draw(3)


def log_probabilities(decoder: Decoder, fused: Tokens, clip: int, ids: list[int]) -> torch.Tensor:
    """Of every next token, (V,): the whole prefix computed anew, padding cut away."""
    values = fused.values[clip]
    one = Tokens(values=(values if fused.keep is None else values[fused.keep[clip]])[None])
    return decoder(torch.tensor([ids]), decoder.project(one))[0, -1].log_softmax(-1)


def log_probability(decoder: Decoder, fused: Tokens, clip: int, ids: list[int]) -> float:
    parts = range(1, len(ids))
    return sum(float(log_probabilities(decoder, fused, clip, ids[:i])[ids[i]]) for i in parts)


def without_padding(ids: list[int]) -> list[int]:
    """A caption up to its EOS, or whole."""
    return ids[: ids.index(EOS) + 1] if EOS in ids else ids


def said(sequences: torch.Tensor) -> list[list[int]]:
    """Captions without padding; Hugging Face pads with EOS where the pad token's id is 0."""
    return [without_padding(ids) for ids in sequences.tolist()]


# ------------------------------------------------------------------ against Hugging Face

EAGER = {"never ends": -60.0, "seldom": 2.0, "soon": 4.0, "at once": 60.0}
CASES = [  # vocabulary, width, length, penalty
    (8, 4, 14, 2.0),
    (30, 4, 14, 2.0),
    (8, 2, 14, 1.0),
    (300, 5, 9, 1.0),
    (7, 5, 9, 0.7),
    (40, 3, 4, 0.0),
    (12, 5, 9, -0.5),
    (12, 2, 2, 1.0),
]


@pytest.mark.parametrize("early_stopping", [False, True, "never"])
@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("eager", EAGER)
def test_sequences_and_scores_are_hugging_faces(eager: str, norm: str, early_stopping) -> None:
    lengths, ended = set(), 0
    for seed, (V, W, length, penalty) in enumerate(CASES):
        decoder = make(seed, V=V, length=length, norm=norm, eager=EAGER[eager])
        fused = draw(12, padded=seed % 2 == 1)
        options = {
            "length": length,
            "beam": W,
            "length_penalty": penalty,
            "early_stopping": early_stopping,
        }
        with torch.inference_mode():
            ours = beam_search(decoder, fused, bos=BOS, eos=EOS, **options)
            sequences, scores = HuggingFace(decoder, bos=BOS, eos=EOS).scored(fused, **options)
        assert said(ours.ids) == said(sequences), CASES[seed]
        torch.testing.assert_close(ours.scores, scores, rtol=1e-5, atol=1e-5)
        lengths |= set(map(len, said(ours.ids)))
        ended += int((ours.ids == EOS).any(1).sum())
    # That the decoders do what their names say.
    if eager == "never ends":
        assert ended == 0
    elif eager == "at once":
        assert (ended, lengths) == (96, {2})
    else:
        assert ended
        assert len(lengths) > 4, lengths


def test_a_vocabulary_smaller_than_the_beam_gives_hugging_faces_captions() -> None:
    """Theirs fills the beams with hypotheses of -1e9; ours has fewer at first."""
    for seed in range(8):
        decoder, fused = make(seed, V=4, eager=1.0), draw(5)
        options = {"length": 6, "beam": 6, "length_penalty": 1.0}
        with torch.inference_mode():
            ours = beam_search(decoder, fused, bos=BOS, eos=EOS, **options)
            sequences, scores = HuggingFace(decoder, bos=BOS, eos=EOS).scored(fused, **options)
        assert said(ours.ids) == said(sequences)
        torch.testing.assert_close(ours.scores, scores, rtol=1e-5, atol=1e-5)


def test_words_that_tie_give_hugging_faces_scores() -> None:
    """Any of equal captions may win; its score is fixed, and it is the caption's own."""
    for seed in range(6):
        decoder = make(seed, V=9, length=8, eager=3.0)
        decoder.words.weight.data[5:] = decoder.words.weight.data[5]
        fused, options = draw(4), {"length": 8, "beam": 3, "length_penalty": 1.0}
        with torch.inference_mode():
            ours = beam_search(decoder, fused, bos=BOS, eos=EOS, **options)
            _, scores = HuggingFace(decoder, bos=BOS, eos=EOS).scored(fused, **options)
            own = [
                log_probability(decoder, fused, clip, ids) / (len(ids) - 1)
                for clip, ids in enumerate(said(ours.ids))
            ]
        torch.testing.assert_close(ours.scores, scores, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours.scores, torch.tensor(own), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("eager", EAGER)
def test_a_width_of_one_is_hugging_faces_greedy_decoding(eager: str) -> None:
    for seed in range(4):
        decoder = make(seed, V=30, length=10, eager=EAGER[eager])
        fused = draw(6, padded=True)
        with torch.inference_mode():
            ours = beam_search(
                decoder, fused, bos=BOS, eos=EOS, length=10, beam=1, length_penalty=2.0
            )
            theirs = HuggingFace(decoder, bos=BOS, eos=EOS)
            sequences = theirs.search(fused, length=10, beam=1)
        assert said(ours.ids) == said(sequences)


# ------------------------------------------------------------------ against naive searches


def naive_beams(
    decoder: Decoder, fused: Tokens, clip: int, length: int, W: int, penalty: float
) -> tuple[list[int], float]:
    """Beam search of one clip in lists, to the longest length, the prefix computed each time."""
    live, finished = [([BOS], 0.0)], []
    for n in range(1, length):
        candidates = []
        for ids, score in live:
            steps = log_probabilities(decoder, fused, clip, ids).tolist()
            candidates += [([*ids, token], score + step) for token, step in enumerate(steps)]
        candidates = sorted(candidates, key=lambda c: -c[1])[: 2 * W]
        over = [ids[-1] == EOS or n == length - 1 for ids, _ in candidates]
        finished += [
            (ids, score / n**penalty)
            for (ids, score), end in list(zip(candidates, over, strict=True))[:W]
            if end
        ]
        live = [c for c, end in zip(candidates, over, strict=True) if not end][:W]
    return max(finished, key=lambda f: f[1])


def naive_greedy(decoder: Decoder, fused: Tokens, clip: int, length: int) -> list[int]:
    ids = [BOS]
    while len(ids) < length and ids[-1] != EOS:
        ids.append(int(log_probabilities(decoder, fused, clip, ids).argmax()))
    return ids


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("penalty", [0.0, 0.7, 1.0, 2.0])
def test_the_cached_search_equals_one_that_recomputes_the_prefix(
    penalty: float, padded: bool
) -> None:
    for seed, norm in enumerate(("pre", "post")):
        decoder = make(seed, V=11, length=8, norm=norm, eager=4.0)
        fused = draw(3, padded=padded)
        with torch.inference_mode():
            found = beam_search(
                decoder,
                fused,
                bos=BOS,
                eos=EOS,
                length=8,
                beam=4,
                length_penalty=penalty,
                early_stopping="never",
            )
            for clip in range(3):
                ids, score = naive_beams(decoder, fused, clip, 8, 4, penalty)
                assert without_padding(found.ids[clip].tolist()) == ids
                assert found.scores[clip].item() == pytest.approx(score, abs=1e-5)


@pytest.mark.parametrize("eager", EAGER)
def test_greedy_decoding_takes_the_likeliest_word_until_the_caption_ends(eager: str) -> None:
    decoder = make(5, V=20, length=9, eager=EAGER[eager])
    fused = draw(6, padded=True)
    with torch.inference_mode():
        found = beam_search(decoder, fused, bos=BOS, eos=EOS, length=9, beam=1, length_penalty=0.0)
        for clip, ids in enumerate(found.ids.tolist()):
            words = without_padding(ids)
            assert words == naive_greedy(decoder, fused, clip, 9)
            assert not any(ids[len(words) :])
            own = log_probability(decoder, fused, clip, words)
            assert found.scores[clip].item() == pytest.approx(own, abs=1e-5)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_beam_as_wide_as_the_tree_finds_the_best_caption(decoder, fused, penalty) -> None:
    length = 4
    with torch.inference_mode():
        found = beam_search(
            decoder,
            fused,
            bos=BOS,
            eos=EOS,
            length=length,
            beam=216,
            length_penalty=penalty,
            early_stopping="never",
        )
        words = [t for t in range(6) if t != EOS]
        every = [
            [BOS, *text, *end]
            for n in range(length)
            for text in itertools.product(words, repeat=n)
            for end in ([EOS],) * (n < length - 1) + ([],) * (n == length - 1)
        ]
        for clip in range(3):
            scored = {
                tuple(ids): log_probability(decoder, fused, clip, ids) / (len(ids) - 1) ** penalty
                for ids in every
            }
            best = max(scored, key=scored.__getitem__)
            assert without_padding(found.ids[clip].tolist()) == list(best)
            assert found.scores[clip].item() == pytest.approx(scored[best], abs=1e-6)


# ------------------------------------------------------------------ the decoder's cache


def test_cached_decoding_equals_recomputing_the_prefix(decoder, fused) -> None:
    ids = torch.randint(0, 6, (3, 6))
    with torch.inference_mode():
        memory = decoder.project(fused)
        cache = BeamCache(memory, length=6, beam=1)
        steps = [decoder.step(ids[:, i : i + 1], memory, cache) for i in range(6)]
        torch.testing.assert_close(torch.cat(steps, dim=1), decoder(ids, memory))


def test_a_beam_reads_its_own_line_and_the_clips_memory_only(decoder, fused) -> None:
    """Lines that branch, die out and change places, against each line computed whole."""
    with torch.inference_mode():
        memory = decoder.project(fused)
        cache = BeamCache(memory, length=6, beam=4)
        lines = torch.full((3, 1, 1), BOS)
        logits = decoder.step(lines[:, :, -1], memory, cache)
        for _ in range(5):
            parents = torch.randint(0, lines.shape[1], (3, 4))
            cache.reorder(parents)
            ids = torch.randint(0, 6, (3, 4))
            kept = lines.gather(1, parents[:, :, None].expand(-1, -1, lines.shape[2]))
            lines = torch.cat([kept, ids[:, :, None]], dim=2)
            logits = decoder.step(ids, memory, cache)
        rows = torch.arange(3).repeat_interleave(4)
        whole = decoder(lines.flatten(0, 1), decoder.project(fused, rows))[:, -1]
        torch.testing.assert_close(logits.flatten(0, 1), whole)


def test_cross_attention_keys_are_computed_once_and_a_step_sees_one_token_a_beam(
    decoder, fused
) -> None:
    seen = {"cross": [], "self": []}
    for layer in decoder.layers:
        for kind, attention in (("cross", layer.cross_attention), ("self", layer.self_attention)):
            attention.key_value.register_forward_hook(
                lambda _, given, __, kind=kind: seen[kind].append(given[0].shape[:2])
            )
    with torch.inference_mode():
        beam_search(
            decoder,
            fused,
            bos=BOS,
            eos=EOS,
            length=6,
            beam=4,
            length_penalty=1.0,
            early_stopping="never",
        )
    assert seen["cross"] == [(3, 5)] * 2
    assert set(seen["self"]) == {(3, 1), (3, 4)}


# ------------------------------------------------------------------ what must not matter


@pytest.mark.parametrize("beam", [1, 5])
def test_each_clip_gets_its_own_caption_whatever_stands_beside_it(beam: int) -> None:
    decoder = make(7, V=30, length=12, eager=2.0)
    fused = draw(8, padded=True)
    options = {"bos": BOS, "eos": EOS, "length": 12, "beam": beam, "length_penalty": 1.0}
    with torch.inference_mode():
        together = beam_search(decoder, fused, **options)
        assert len(set(map(len, said(together.ids)))) > 1
        for clip in range(8):
            part = slice(clip, clip + 1)
            one = Tokens(values=fused.values[part], keep=fused.keep[part])
            alone = beam_search(decoder, one, **options)
            assert alone.ids[0].tolist() == together.ids[clip].tolist()
            torch.testing.assert_close(alone.scores[0], together.scores[clip])


@pytest.mark.parametrize("beam", [1, 5])
def test_padded_tokens_are_not_read(beam: int) -> None:
    decoder, fused = make(0, V=30, length=9), draw(6, padded=True)
    options = {"bos": BOS, "eos": EOS, "length": 9, "beam": beam, "length_penalty": 1.0}
    other = Tokens(values=fused.values.masked_fill(~fused.keep[:, :, None], -7.0), keep=fused.keep)
    with torch.inference_mode():
        first, second = (beam_search(decoder, f, **options) for f in (fused, other))
    assert first.ids.tolist() == second.ids.tolist()


def test_bfloat16_gives_scores_in_float32_and_the_captions_own(decoder, fused) -> None:
    decoder, fused = decoder.bfloat16(), Tokens(values=fused.values.bfloat16())
    with torch.inference_mode():
        found = beam_search(decoder, fused, bos=BOS, eos=EOS, length=6, beam=3, length_penalty=0.0)
        assert found.scores.dtype == torch.float32
        for clip, ids in enumerate(said(found.ids)):
            one = Tokens(values=fused.values[clip : clip + 1])
            logits = decoder(torch.tensor([ids[:-1]]), decoder.project(one))[0].float()
            own = logits.log_softmax(-1).gather(1, torch.tensor(ids[1:])[:, None]).sum()
            torch.testing.assert_close(found.scores[clip], own, rtol=0.05, atol=0.05)


def test_autocast_decodes_in_its_own_precision(decoder, fused) -> None:
    decoder, fused = decoder.float(), Tokens(values=fused.values.float())
    options = {"bos": BOS, "eos": EOS, "length": 6, "beam": 3, "length_penalty": 0.0}
    with torch.inference_mode():
        exact = beam_search(decoder, fused, **options)
        with torch.autocast("cpu", torch.bfloat16):
            found = beam_search(decoder, fused, **options)
    torch.testing.assert_close(found.scores, exact.scores, rtol=0.05, atol=0.2)


# ------------------------------------------------------------------ ends and refusals


def test_a_caption_that_never_ends_is_given_at_full_length(decoder, fused) -> None:
    # The final normalisation gives a constant state, which EOS's row opposes.
    with torch.inference_mode():
        decoder.final_norm.weight.zero_()
        decoder.final_norm.bias.fill_(1.0)
        decoder.words.weight.zero_()
        decoder.words.weight[EOS] = -1000.0
        decoder.words.weight[5] = 1.0
        found = beam_search(decoder, fused, bos=BOS, eos=EOS, length=6, beam=2, length_penalty=1.0)
    assert found.ids.tolist() == [[BOS, 5, 5, 5, 5, 5]] * 3
    assert torch.isfinite(found.scores).all()


def test_wider_beams_never_score_worse_than_greedy(decoder, fused) -> None:
    options = {"bos": BOS, "eos": EOS, "length": 6, "length_penalty": 0.0}
    with torch.inference_mode():
        greedy = beam_search(decoder, fused, beam=1, **options)
        wide = beam_search(decoder, fused, beam=100, **options)
    assert (wide.scores >= greedy.scores - 1e-6).all()


@pytest.mark.parametrize(("beam", "length"), [(0, 6), (5, 1)])
def test_a_beam_or_a_length_without_room_is_refused(decoder, fused, beam, length) -> None:
    with pytest.raises(ValueError, match=f"beam must be at least 1 .* got {beam} and {length}"):
        beam_search(decoder, fused, bos=BOS, eos=EOS, length=length, beam=beam, length_penalty=1.0)
