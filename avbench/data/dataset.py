"""Samples and batches of prepared clips; each is a pure function of (seed, epoch, clip)."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.utils.data import Dataset, Sampler

from avbench.core.types import Batch, InputSpec, Modality
from avbench.data.media.spectrogram import spec_augment
from avbench.data.prepared.split import PreparedSplit
from avbench.data.settings import EpochOf, SamplingSettings
from avbench.data.tokenizer import PAD, Vocabulary


class Key(NamedTuple):
    """One use of a clip in training; with the seed it fixes every random choice."""

    clip: int
    """Index of the clip."""
    epoch: int
    use: int | None = None
    """Number of the use, if an epoch uses the clip more than once; each has draws of its own. If
    an epoch takes all captions, it is the caption's index."""


def derive_seed(*parts: object) -> int:
    """Return a 63-bit seed from printable parts; equal on every machine and Python."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(*parts: object) -> torch.Generator:
    """Return a random generator seeded by the parts."""
    return torch.Generator().manual_seed(derive_seed(*parts))


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One clip, ready to collate; shapes as in ``Batch`` without B."""

    id: str
    video: torch.Tensor
    audio: torch.Tensor
    text: list[int]
    captions: list[list[int]]


class ClipData(Dataset[Sample]):
    """The clips of a prepared split as the model's inputs and targets.

    Args:
        split: prepared clips.
        vocabulary: turns captions into ids.
        spec: geometry of the inputs.
        sampling: random draws for training (frames, SpecAugment, one caption, the tasks); None:
            uniform frames, no augmentation, no captions.
        seed: fixes every draw, with epoch and clip.
        taken: for a stream, the index of the clip that each clip's input comes from; other
            streams come from the clip itself.
    """

    def __init__(
        self,
        split: PreparedSplit,
        vocabulary: Vocabulary,
        spec: InputSpec,
        *,
        sampling: SamplingSettings | None,
        seed: int = 0,
        taken: Mapping[Modality, Sequence[int]] | None = None,
    ) -> None:
        self.taken = taken or {}
        self.split = split
        self.vocabulary = vocabulary
        self.spec = spec
        self.sampling = sampling
        self.seed = seed

    def __len__(self) -> int:
        return len(self.split.clips)

    def has_target(self, index: int) -> bool:
        """Return True if a clip has a caption for a task; a video's last clip has no next one."""
        clip, tasks = self.split.clips[index], self.sampling.tasks if self.sampling else ()
        return "pcc" in tasks or clip.next_caption is not None

    def __getitem__(self, key: Key | tuple[int, int]) -> Sample:
        index, epoch, use = Key(*key)
        clip = self.split.clips[index]
        again = () if use is None else (use,)
        draw = generator(self.seed, epoch, clip.id, *again) if self.sampling else None
        place = {stream: of[index] for stream, of in self.taken.items()}
        video = self.split.frames(place.get("video", index), self.spec, draw)
        audio = self.split.mel(place.get("audio", index))
        speech = self.split.clips[place.get("text", index)].speech
        text = self.vocabulary.words(speech or "", self.spec.speech_tokens)
        captions = []
        if self.sampling is not None and draw is not None:
            if self.sampling.spec_augment:
                audio = spec_augment(audio, self.spec, draw)
            if self.sampling.mask_speech:
                hidden = torch.rand(len(text), generator=draw) < self.sampling.mask_speech
                text = [
                    self.vocabulary.mask if h else i for i, h in zip(text, hidden, strict=True)
                ]
            chosen = int(torch.randint(len(clip.captions), (1,), generator=draw))
            if self.sampling.captions == "all" and use is not None:
                chosen = use
            targets = {"pcc": clip.captions[chosen], "pnc": clip.next_caption}
            if self.sampling.pnc_share < 1 and torch.rand((), generator=draw) >= (
                self.sampling.pnc_share
            ):
                targets["pnc"] = None
            for task in self.sampling.tasks:
                target = targets[task]
                if target is not None:
                    captions.append(
                        self.vocabulary.caption(target, task, self.spec.caption_tokens)
                    )
        text += [PAD] * (self.spec.speech_tokens - len(text))
        return Sample(id=clip.id, video=video, audio=audio, text=text, captions=captions)


def pad(rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return rows of ids as a matrix, padded on the right, with at least one column."""
    width = max([1, *map(len, rows)])
    padded = torch.full((len(rows), width), PAD, dtype=torch.long)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = torch.tensor(row, dtype=torch.long)
    return padded


def collate(samples: Sequence[Sample]) -> Batch:
    """Make a batch; the captions of a clip (PCC, PNC) are rows that share its inputs."""
    captions = [ids for s in samples for ids in s.captions]
    rows = [i for i, s in enumerate(samples) for _ in s.captions]
    return Batch(
        video=torch.stack([s.video for s in samples]),
        audio=torch.stack([s.audio for s in samples]),
        text=pad([s.text for s in samples]),
        captions=pad(captions) if captions else torch.zeros(0, 1, dtype=torch.long),
        clip=torch.tensor(rows, dtype=torch.long),
        ids=tuple(s.id for s in samples),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """Share of each step's clips that one process takes, and its number of micro-batches."""

    rank: int = 0
    world: int = 1
    """Number of processes."""
    parts: int = 1
    """Micro-batches of each process."""

    def of(self, clips: Sequence[Key]) -> list[list[Key]]:
        """Return this process's micro-batches of a step: adjacent, of equal size."""
        size = len(clips) // (self.world * self.parts)
        first = self.rank * self.parts
        return [list(clips[i * size : (i + 1) * size]) for i in range(first, first + self.parts)]


_WHOLE = Share()


def epoch_samples(epoch: EpochOf, group: int, *, videos: int, samples: int) -> int:
    """Return the number of samples that an epoch takes.

    Args:
        epoch: ``clips``: all samples; ``videos``: one group of each video.
        group: samples of a video that are drawn together.
        videos: number of videos.
        samples: number of clips, or of their captions if an epoch takes all captions.
    """
    return videos * group if epoch == "videos" else samples


class StepSampler(Sampler[list[Key]]):
    """Samples the clips of every step, from ``start`` to ``steps``, by (seed, epoch).

    It yields a step's micro-batches in turn, only those of ``share``; the whole step does not
    depend on the sharing.

    In each epoch a video's samples are shuffled and cut into groups of ``group``. The groups are
    shuffled and fill the batches (Sec. 4.2: three pairs of one long video in an iteration). If a
    video's samples do not divide into groups, the end of a batch may cut one. Samples that do not
    fill the last batch wait for another epoch's shuffle.

    Args:
        videos: the video of each sample.
        rows: the index of each sample's clip; None: the samples are all clips in their order.
        uses: the number of each sample's use of its clip; None: one sample per clip.
        epoch: ``clips``: an epoch takes all samples. ``videos``: it takes one group of each video
            at random; a video with fewer samples gives some of them again, as other uses.
        batch: samples per step.
        group: samples of one video that are drawn together.
        seed: fixes the order.
        start: first step.
        steps: the step to stop before.
        share: share of each step that is yielded.
    """

    def __init__(
        self,
        videos: Sequence[str],
        *,
        rows: Sequence[int] | None = None,
        uses: Sequence[int] | None = None,
        epoch: EpochOf = "clips",
        batch: int,
        group: int,
        seed: int,
        start: int,
        steps: int,
        share: Share = _WHOLE,
    ) -> None:
        self.share = share
        self.rows = range(len(videos)) if rows is None else rows
        self.uses = uses
        self.epoch = epoch
        self.group = group
        self.seed = seed
        self.start = start
        self.steps = steps
        self._by_video: dict[str, list[int]] = defaultdict(list)
        for i, video in enumerate(videos):
            self._by_video[video].append(i)
        samples = epoch_samples(epoch, group, videos=len(self._by_video), samples=len(videos))
        self.batch = min(batch, samples)
        self.per_epoch = samples // self.batch

    def __len__(self) -> int:
        return (self.steps - self.start) * self.share.parts

    def __iter__(self) -> Iterator[list[Key]]:
        order: list[int] = []
        shuffled = -1
        for step in range(self.start, self.steps):
            epoch, place = divmod(step, self.per_epoch)
            if epoch != shuffled:
                order, shuffled = self._order(epoch), epoch
            chosen = order[place * self.batch : (place + 1) * self.batch]
            yield from self.share.of([self._key(place, epoch) for place in chosen])

    def _key(self, place: int, epoch: int) -> Key:
        again, sample = divmod(place, len(self.rows))
        use = self.uses[sample] if self.uses is not None else again or None
        return Key(self.rows[sample], epoch, use)

    def _order(self, epoch: int) -> list[int]:
        """Return an epoch's samples; sample ``i`` for the k-th time again is ``i + k·samples``."""
        draw = generator(self.seed, "order", epoch)

        def shuffle(items: list[int]) -> list[int]:
            return [items[i] for i in torch.randperm(len(items), generator=draw).tolist()]

        groups = []
        for clips in self._by_video.values():
            mixed = shuffle(clips)
            if self.epoch == "videos":
                again = (divmod(i, len(mixed)) for i in range(self.group))
                groups.append([mixed[i] + times * len(self.rows) for times, i in again])
            else:
                groups += [mixed[i : i + self.group] for i in range(0, len(mixed), self.group)]
        return [clip for g in shuffle(list(range(len(groups)))) for clip in groups[g]]
