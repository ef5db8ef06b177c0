"""Epochs: of videos or of clips, with one caption of a clip or all; steps, order and resume."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from avbench.core.components import ComponentRef
from avbench.core.types import Clip
from avbench.data.annotations.clip_counts import ClipCounts, videos_apart
from avbench.data.dataset import ClipData, Key, Share, StepSampler
from avbench.data.loader import Feed
from avbench.data.settings import SamplingSettings
from avbench.models.weights import WEIGHTS
from avbench.training import loss_log
from avbench.training import stage as train
from avbench.training.schedule import batch_size, sample_count, step_count
from avbench.training.settings import TrainSettings
from tests.training.test_training import job, killed_at


def settings(**given) -> TrainSettings:
    return TrainSettings(loss=ComponentRef(name="plain"), **{"epochs": 1.0, **given})


def steps(given: TrainSettings, counts: ClipCounts) -> int:
    samples = sample_count(given, counts)
    return step_count(given, samples // batch_size(given, samples, 1))


MSRVTT = ClipCounts(videos=6_513, clips=6_513, captions=130_260)
VATEX = ClipCounts(videos=25_991, clips=25_991, captions=259_910)
HOWTO100M = ClipCounts(videos=1_200_000, clips=66_000_000, captions=66_000_000)


@pytest.mark.parametrize(
    ("captions", "counts", "epochs", "expected"),
    [
        ("one", MSRVTT, 5.0, 505),
        ("all", MSRVTT, 5.0, 10_175),
        ("one", VATEX, 10.0, 4_060),
        ("all", VATEX, 10.0, 40_610),
    ],
)
def test_fine_tuning_steps_at_the_official_numbers_of_sentences(
    captions: str, counts: ClipCounts, epochs: float, expected: int
) -> None:
    given = settings(captions=captions, epochs=epochs, batch=64)
    assert steps(given, counts) == expected


def test_an_epoch_of_videos_is_18_times_less_pre_training_than_one_of_clips() -> None:
    """At the paper's batch and about 55 clips a video."""
    shared = {"epochs": 100.0, "batch": 192, "clips_per_video": 3}
    videos = steps(settings(epoch="videos", **shared), HOWTO100M)
    clips = steps(settings(epoch="clips", **shared), HOWTO100M)
    assert videos == 100 * 1_200_000 * 3 // 192 == 1_875_000
    assert clips / videos == pytest.approx(55 / 3, rel=1e-3)


def test_counts_without_a_share_of_the_videos() -> None:
    counts = ClipCounts(videos=100, clips=250, captions=1_000)
    assert counts.without(0.08) == ClipCounts(videos=92, clips=230, captions=920)
    assert [videos_apart(n, 0.1) for n in (2, 4, 25)] == [1, 1, 2]


VIDEOS = [*["a"] * 7, *["b"] * 2, *["c"] * 4, "d", *["e"] * 5]


def sampler(epochs: int, *, seed: int = 0, start: int = 0, share: Share | None = None, **more):
    """Samples of VIDEOS, two videos a step."""
    return StepSampler(
        VIDEOS,
        epoch="videos",
        batch=6,
        group=3,
        seed=seed,
        start=start,
        steps=epochs * 2,  # five videos: two steps and one group that waits
        share=share or Share(),
        **more,
    )


def groups(keys: list[Key]) -> Iterator[list[Key]]:
    for i in range(0, len(keys), 3):
        yield keys[i : i + 3]


def test_an_epoch_of_videos_draws_three_clips_of_each_in_one_step() -> None:
    found = list(sampler(20))
    for epoch in range(20):
        held = [g for keys in found[2 * epoch : 2 * epoch + 2] for g in groups(keys)]
        names = [{VIDEOS[key.clip] for key in g} for g in held]
        assert all(len(name) == 1 for name in names)
        assert len(set().union(*names)) == 4, "a video came twice"
        assert all(len(set(g)) == 3 for g in held), "two uses of a clip are one"
        assert {key.epoch for g in held for key in g} == {epoch}
    seen = Counter(key.clip for keys in found for key in keys)
    assert set(seen) == set(range(len(VIDEOS))), "some clips are never drawn"


def test_a_video_with_fewer_clips_gives_some_of_them_again_as_other_uses() -> None:
    uses = {
        tuple(sorted((key.clip, key.use or 0) for key in g))
        for keys in sampler(20)
        for g in groups(keys)
        if VIDEOS[g[0].clip] in "bd"
    }
    both = {((7, 0), (7, 1), (8, 0)), ((7, 0), (8, 0), (8, 1))}
    assert uses == both | {((13, 0), (13, 1), (13, 2))}


def test_epochs_of_videos_depend_on_the_seed_alone() -> None:
    every = list(sampler(6))
    assert list(sampler(6, start=5)) == every[5:]
    assert list(sampler(6, seed=1)) != every
    assert every[0:2] != every[2:4]
    halves = [list(sampler(6, share=Share(rank=rank, world=2))) for rank in (0, 1)]
    assert [a + b for a, b in zip(*halves, strict=True)] == every
    parts = list(sampler(6, share=Share(parts=2)))
    assert [a + b for a, b in zip(parts[::2], parts[1::2], strict=True)] == every


class Several:
    """A split whose clips have several captions, and no media."""

    clips = tuple(
        Clip(id=f"v{i}", video=f"v{i}", media=Path(f"v{i}.mp4"), captions=tuple(f"v{i} {k}"
             for k in range(count))) for i, count in enumerate((3, 1, 2))
    )  # fmt: skip


def feed_keys(monkeypatch: pytest.MonkeyPatch, captions, *, steps: int, batch: int) -> list[Key]:
    """The keys that a feed asks its data for."""
    asked: list[Key] = []

    class Asked(ClipData):
        def __init__(self) -> None:
            self.split = Several()  # type: ignore[assignment]
            self.sampling = SamplingSettings(captions=captions)

        def __getitem__(self, key):
            asked.append(key)
            return key

    monkeypatch.setattr("avbench.data.loader.collate", lambda keys: keys)
    monkeypatch.setattr("avbench.data.loader.to", lambda keys, _: keys)
    feed = Feed(data=Asked(), rows=[0, 1, 2], batch=batch, group=1, device=torch.device("cpu"))
    list(feed.batches(0, steps, seed=0))
    return asked


def test_an_epoch_of_all_captions_takes_each_sentence_once(monkeypatch) -> None:
    keys = feed_keys(monkeypatch, "all", steps=4, batch=3)
    for epoch in (0, 1):
        held = keys[6 * epoch : 6 * epoch + 6]
        assert {key.epoch for key in held} == {epoch}
        pairs = [(key.clip, key.use) for key in held]
        assert sorted(pairs) == [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (2, 1)]
    assert keys[:6] != [key._replace(epoch=0) for key in keys[6:]]
    one = feed_keys(monkeypatch, "one", steps=1, batch=3)
    assert sorted(one) == [(0, 0, None), (1, 0, None), (2, 0, None)]


def test_each_sentence_has_draws_of_its_own_and_is_the_target(narrated_data) -> None:
    split, words = narrated_data.split, narrated_data.vocabulary
    several = replace(split.clips[0], captions=("red ball", "green box", "blue cone"))
    split.clips = (several, *split.clips[1:])

    def data(captions) -> ClipData:
        sampling = SamplingSettings(captions=captions)
        return ClipData(split, words, narrated_data.spec, sampling=sampling)

    every = [data("all")[Key(0, 5, use)] for use in range(3)]
    for sample, caption in zip(every, several.captions, strict=True):
        assert sample.captions == [words.caption(caption, "pcc", 32)]
    assert not torch.equal(every[0].audio, every[1].audio)
    again = data("all")[Key(0, 5, 1)]
    assert torch.equal(again.audio, every[1].audio)
    assert torch.equal(again.video, every[1].video)
    # Outside an epoch, as in probes, a caption is drawn; then both settings are the same.
    drawn = {tuple(data("all")[0, epoch].captions[0]) for epoch in range(20)}
    assert len(drawn) == 3
    assert data("one")[0, 3].captions == data("all")[0, 3].captions


@pytest.mark.parametrize(
    "given",
    [
        {"epoch": "videos", "clips_per_video": 3},
        {"epoch": "videos", "clips_per_video": 6, "loss": "gblend"},  # of 4: some come again
        {"captions": "all"},
    ],
    ids=["videos", "few clips", "captions"],
)
def test_a_killed_run_ends_as_an_undisturbed_one(given, narrated, tmp_path, monkeypatch) -> None:
    whole, broken = (job(narrated, tmp_path / n, **given) for n in ("whole", "broken"))
    expected = train.run(whole)
    for step in (2, 5):
        killed_at(broken, step, monkeypatch)
    assert train.run(broken) == expected
    ours, theirs = (load_file(j.directory / WEIGHTS) for j in (broken, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert loss_log.read(broken.directory) == loss_log.read(whole.directory)


@pytest.mark.parametrize(
    ("epoch", "per_video", "expected"),
    [("clips", 3, 8), ("videos", 3, 6), ("videos", 1, 2), ("videos", 6, 12)],
)
def test_epochs_decide_the_steps_of_a_training(
    epoch, per_video, expected, narrated, tmp_path
) -> None:
    """Six videos of four clips, six samples a step, two epochs."""
    given = {"steps": None, "epochs": 2.0, "epoch": epoch, "clips_per_video": per_video}
    work = job(narrated, tmp_path / "a", **given)
    assert train.run(work)["steps"] == expected


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"epoch": "videos", "captions": "all"},
            "epoch: videos takes one caption of each clip that it draws, so captions must be "
            "one, got all",
        ),
        (
            {"captions": "all", "tasks": ("pnc",)},
            r"captions: all needs the task pcc, got tasks \['pnc'\]",
        ),
    ],
)
def test_epochs_that_cannot_be(given, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        settings(**given)
