"""Alterations of streams: which are asked for, whose input stands in, how strong noise is."""

import math
from collections import Counter
from dataclasses import replace
from itertools import permutations

import pytest
import torch

from avbench.analysis.modality_use import shapley
from avbench.core.errors import SuiteError
from avbench.core.options import build
from avbench.core.types import Batch
from avbench.data.tokenizer import PAD, Vocabulary
from avbench.evaluation import perturb
from avbench.evaluation.perturb import kept, noised, partners, same_video, swapped
from avbench.evaluation.perturbation import Alteration, altered_label
from avbench.evaluation.settings import EvaluateSettings
from avbench.reports.notes import alteration_notes

AV = ("audio", "video")


def alter(how: str, *streams: str, db: float = 0.0, seed: int = 0) -> Alteration:
    return Alteration(how=how, streams=streams, noise_db=db, seed=seed)  # type: ignore[arg-type]


def names(encoded: tuple[str, ...], **asked: object) -> list[str]:
    return [a.name for a in build(EvaluateSettings, asked).alterations(encoded)]


# ------------------------------------------------------------------ which


def test_what_is_asked_for_is_done_to_the_streams_that_a_row_encodes() -> None:
    asked = {"zeroed": ["video", "audio"], "swapped": ["audio", "text"], "noised": ["video"]}
    assert names(AV, **asked) == [
        *("video zeroed", "audio zeroed", "audio swapped", "video noised"),
    ]
    assert names(("text", "audio", "video"), **asked)[2:4] == ["audio swapped", "text swapped"]
    # Without its only stream nothing is left to look at; another clip's is something.
    assert names(("audio",), **asked) == ["audio swapped"]
    assert names(AV) == []


def test_shapley_values_need_every_set_once() -> None:
    assert names(AV, zeroed=["video"], shapley=True) == [
        *("video zeroed", "audio zeroed", "audio+video zeroed"),
    ]
    three = names(("audio", "video", "text"), shapley=True)
    assert len(three) == len(set(three)) == 7
    assert names(("audio",), shapley=True) == ["audio zeroed"]


def test_options_of_noise_and_swaps_are_no_part_of_zeroing() -> None:
    one = EvaluateSettings(zeroed=AV, noised=AV, swapped=AV)
    two = replace(one, noise_db=6.0, alteration_seed=1)
    for a, b in zip(one.alterations(AV), two.alterations(AV), strict=True):
        assert (a == b) == (a.how == "zeroed")


def test_notes_say_what_was_done() -> None:
    done = EvaluateSettings(zeroed=AV, noised=AV, noise_db=3.0, swapped=AV, alteration_seed=4)
    zeroed, taken, noisy = alteration_notes(done.alterations(AV))
    assert "Eq. 2" in zeroed
    assert "without fixed points, seed 4" in taken
    assert "3 dB below" in noisy
    assert "33.4 % are replaced; seed 4" in noisy
    assert altered_label("plain", "video zeroed") == "plain – video zeroed"


def test_a_view_lacks_what_is_zeroed_alone() -> None:
    encoded = frozenset(AV)
    assert kept(None, encoded) == encoded
    assert kept(alter("zeroed", "video"), encoded) == {"audio"}
    assert kept(alter("zeroed", "audio", "video"), encoded) == frozenset()
    assert kept(alter("swapped", "video"), encoded) == encoded
    text = "evaluate.noised: unknown stream 'vidoe'; did you mean 'video'"
    with pytest.raises(SuiteError, match=text):
        kept(alter("noised", "vidoe"), encoded)
    other = encoded | {"depth"}
    assert kept(alter("zeroed", "depth"), other) == encoded
    with pytest.raises(SuiteError, match=r"'depth' has no input of its own .*audio, text, video"):
        kept(alter("swapped", "depth"), other)


# ------------------------------------------------------------------ swapped

SIZES = [[1] * 7, [3, 1, 2, 5, 4], [4, 2, 2], [5, 1, 1], [1, 1], [2, 1], [6], [9, 9]]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_partners_are_a_permutation_without_fixed_points_over_other_videos(sizes, seed) -> None:
    videos = [f"v{i}" for i, n in enumerate(sizes) for _ in range(n)]
    videos = [videos[i] for i in torch.randperm(len(videos)).tolist()]
    found = partners(videos, seed)
    assert sorted(found) == list(range(len(videos)))
    assert all(i != j for i, j in enumerate(found))
    same = sum(videos[i] == videos[j] for i, j in enumerate(found))
    # Of a video with more than half of the clips not all partners can be others.
    assert same == max(0, 2 * max(sizes) - len(videos))
    assert same_video({"audio": found}, videos) == same
    assert partners(videos, seed) == found


@pytest.mark.parametrize("sizes", [[2, 1, 1], [3, 1], [2, 2], [1, 1, 1]])
def test_no_permutation_has_fewer_partners_of_the_same_video(sizes) -> None:
    videos = [i for i, n in enumerate(sizes) for _ in range(n)]
    fewest = min(
        sum(videos[i] == videos[j] for i, j in enumerate(p))
        for p in permutations(range(len(videos)))
        if all(i != j for i, j in enumerate(p))
    )
    found = partners([str(v) for v in videos], 0)
    assert same_video({"video": found}, [str(v) for v in videos]) == fewest


def test_other_seeds_give_other_partners_and_all_clips_are_partners_of_each() -> None:
    videos = [str(i) for i in range(6)]
    drawn = [partners(videos, seed) for seed in range(600)]
    assert len({tuple(d) for d in drawn}) > 60  # of 120 cycles
    first = Counter(d[0] for d in drawn)
    assert set(first) == {1, 2, 3, 4, 5}
    assert min(first.values()) > 600 / 5 * 0.7


def test_swapped_streams_share_their_partners_and_others_have_none() -> None:
    videos = [str(i) for i in range(5)]
    taken = swapped(alter("swapped", "audio", "video", seed=3), videos)
    assert taken == dict.fromkeys(AV, partners(videos, 3))
    assert swapped(None, videos) == swapped(alter("zeroed", "audio"), videos) == {}
    with pytest.raises(SuiteError, match="needs at least two clips, got 1"):
        swapped(alter("swapped", "audio"), ["a"])


def test_a_swapped_clip_has_the_others_input_and_its_own_of_the_rest(narrated_data) -> None:
    from avbench.data.dataset import ClipData

    split, vocabulary, spec = narrated_data.split, narrated_data.vocabulary, narrated_data.spec
    own = ClipData(split, vocabulary, spec, sampling=None)
    taken = partners([clip.video for clip in split.clips], 0)
    for stream in ("audio", "video", "text"):
        data = ClipData(split, vocabulary, spec, sampling=None, taken={stream: taken})
        for i in (0, 5):
            sample, mine, other = data[i, 0], own[i, 0], own[taken[i], 0]
            assert sample.id == mine.id
            assert split.clips[i].video != split.clips[taken[i]].video
            for field in ("audio", "video", "text"):
                given = other if field == stream else mine
                left, right = getattr(sample, field), getattr(given, field)
                assert left == right if field == "text" else torch.equal(left, right)
            assert not torch.equal(mine.audio, other.audio)


# ------------------------------------------------------------------ noised


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.train(["a red ball rolls to the left", "someone says hello there"], 60)


def batch(vocabulary: Vocabulary, ids: str = "abc", words: int = 4000) -> Batch:
    n = len(ids)
    draw = torch.Generator().manual_seed(1)
    known = [i for i in range(len(vocabulary)) if i not in vocabulary.special]
    text = torch.tensor(known)[torch.randint(len(known), (n, words), generator=draw)]
    text[:, words // 2 :] = PAD
    scale = torch.arange(1.0, n + 1)[:, None, None]
    return Batch(
        video=torch.randint(90, 166, (n, 4, 3, 32, 32), generator=draw).to(torch.uint8),
        audio=scale * torch.randn(n, 64, 64, generator=draw) - 5,
        text=text,
        captions=torch.ones(n, 2, dtype=torch.long),
        clip=torch.arange(n),
        ids=tuple(ids),
    )


@pytest.mark.parametrize("db", [-3.0, 0.0, 10.0])
def test_the_signal_to_noise_ratio_is_as_stated_for_every_clip(vocabulary, db: float) -> None:
    given = batch(vocabulary)
    made = noised(alter("noised", "audio", "video", db=db), given, vocabulary)
    assert torch.equal(made.text, given.text)
    for stream in AV:
        before = getattr(given, stream).double().flatten(1)
        noise = getattr(made, stream).double().flatten(1) - before
        measured = 10 * torch.log10(before.var(1) / noise.var(1))
        # 4,096 and 12,288 draws; rounding to pixels adds a variance of 1/12 to one of 22² and up.
        torch.testing.assert_close(measured, torch.full_like(measured, db), atol=0.25, rtol=0)
        assert noise.mean(1).abs().max() < 4 * noise.std(1).max() / 64
    assert made.video.dtype == torch.uint8


def test_strong_noise_stays_within_what_a_pixel_can_hold(vocabulary) -> None:
    given = batch(vocabulary)
    given = replace(given, video=torch.where(given.video > 128, 255, 0).to(torch.uint8))
    made = noised(alter("noised", "video"), given, vocabulary).video.float()
    # Half of the noise on black and on white is clipped away, none of it wraps around.
    assert ((made - given.video.float()) * (128 - given.video.float())).min() >= 0
    assert 0.4 < (made == given.video).float().mean() < 0.6


@pytest.mark.parametrize("db", [0.0, 10.0])
def test_words_are_replaced_by_others_at_noises_share(vocabulary, db: float) -> None:
    given = batch(vocabulary)
    made = noised(alter("noised", "text", db=db), given, vocabulary).text
    real = given.text != PAD
    assert torch.equal(made == PAD, ~real)
    assert not set(made[real].tolist()) & vocabulary.special
    words = len(vocabulary) - len(vocabulary.special)
    share = (made != given.text)[real].float().mean().item()
    wanted = (1 - 1 / words) / (1 + 10 ** (db / 10))  # a word may be drawn for itself
    assert share == pytest.approx(wanted, abs=4 * math.sqrt(0.25 / 6000))


def test_noise_is_of_the_clip_and_the_seed_and_of_nothing_else(vocabulary) -> None:
    given = batch(vocabulary)
    one = noised(alter("noised", *AV), given, vocabulary)
    again = noised(alter("noised", "video", "audio"), given, vocabulary)
    assert torch.equal(one.audio, again.audio)
    assert torch.equal(one.video, again.video)
    order = torch.tensor([2, 0, 1])
    turned = Batch(
        **{f: getattr(given, f)[order] for f in ("video", "audio", "text", "captions", "clip")},
        ids=tuple("cab"),
    )
    assert torch.equal(
        noised(alter("noised", "audio"), turned, vocabulary).audio, one.audio[order]
    )
    other = noised(alter("noised", *AV, seed=1), given, vocabulary)
    assert not torch.equal(other.audio, one.audio)
    noise = (one.audio - given.audio) / given.audio.std((1, 2), keepdim=True)
    assert (noise[0] - noise[1]).abs().max() > 1  # clips have noise of their own
    assert noised(None, given, vocabulary) is not None
    assert torch.equal(noised(alter("zeroed", "audio"), given, vocabulary).audio, given.audio)


def test_an_input_without_variance_stays(vocabulary) -> None:
    given = replace(batch(vocabulary), audio=torch.full((3, 64, 64), -11.5))
    assert torch.equal(noised(alter("noised", "audio"), given, vocabulary).audio, given.audio)


def test_every_input_of_a_batch_can_be_altered() -> None:
    assert {"audio", "video", "text"} == perturb.INPUTS


# ------------------------------------------------------------------ Shapley


def by_orders(value: dict[frozenset[str], float]) -> dict[str, float]:
    """The mean over all orders of what each player adds when it joins those before it."""
    everyone = sorted(max(value, key=len))
    added: dict[str, list[float]] = {p: [] for p in everyone}
    for order in permutations(everyone):
        there: frozenset[str] = frozenset()
        for player in order:
            added[player].append(value[there | {player}] - value[there])
            there |= {player}
    return {p: math.fsum(each) / len(each) for p, each in added.items()}


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_shapley_values_equal_the_mean_over_all_orders_and_add_up(n: int) -> None:
    players = [f"m{i}" for i in range(n)]
    draw = torch.Generator().manual_seed(n)
    value = {
        frozenset(p for i, p in enumerate(players) if bits >> i & 1): float(v)
        for bits, v in enumerate((100 * torch.randn(2**n, generator=draw)).tolist())
    }
    found = shapley(value)
    assert found == pytest.approx(by_orders(value))
    everyone = frozenset(players)
    assert math.fsum(found.values()) == pytest.approx(value[everyone] - value[frozenset()])


def test_a_modality_that_adds_nothing_is_worth_nothing_and_equals_are_worth_the_same() -> None:
    full = frozenset("abc")
    value = {
        frozenset(s): 10.0 * bool({"a", "b"} & set(s)) + 3.0
        for s in ("", "a", "b", "c", "ab", "ac", "bc", "abc")
    }
    found = shapley(value)
    assert found == pytest.approx({"a": 5.0, "b": 5.0, "c": 0.0})
    del value[full - {"a"}]
    with pytest.raises(KeyError):
        shapley(value)
