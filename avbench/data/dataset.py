"""From prepared clips to batches, each a pure function of (seed, epoch, clip)."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import Dataset, Sampler

from avbench.core.types import Batch, InputSpec, Modality
from avbench.data.media.spectrogram import spec_augment
from avbench.data.prepared.split import PreparedSplit
from avbench.data.settings import SamplingSettings
from avbench.data.tokenizer import PAD, Vocabulary

Key = tuple[int, int]
"""Which clip, and in which epoch: together with the seed they fix every random choice."""


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from anything printable; the same on every machine and Python."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(*parts: object) -> torch.Generator:
    """A random generator of its own for what the parts name."""
    return torch.Generator().manual_seed(derive_seed(*parts))


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One clip, ready to be collated; shapes as in ``Batch`` without B."""

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
        sampling: what to draw for training (frames, SpecAugment, one caption, the tasks);
            None: uniform frames, no augmentation, no captions.
        seed: with epoch and clip fixes every draw.
        taken: for a stream, the place of the clip that each clip's input is taken from; of
            streams that are not named it is the clip's own.
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
        """Whether a clip has a caption for any task: a video's last clip has none to predict."""
        clip, tasks = self.split.clips[index], self.sampling.tasks if self.sampling else ()
        return "pcc" in tasks or clip.next_caption is not None

    def __getitem__(self, key: Key) -> Sample:
        index, epoch = key
        clip = self.split.clips[index]
        draw = generator(self.seed, epoch, clip.id) if self.sampling else None
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
    """Rows of ids as one matrix, padded on the right; at least one column."""
    width = max([1, *map(len, rows)])
    padded = torch.full((len(rows), width), PAD, dtype=torch.long)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = torch.tensor(row, dtype=torch.long)
    return padded


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples to a batch; captions of one clip (PCC, PNC) become rows that share its inputs."""
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
    """The part of every step's clips that one process takes, and in how many micro-batches."""

    rank: int = 0
    world: int = 1
    """Processes."""
    parts: int = 1
    """Micro-batches of each process."""

    def of(self, clips: Sequence[Key]) -> list[list[Key]]:
        """This process's micro-batches of a step, of equal size and next to each other."""
        size = len(clips) // (self.world * self.parts)
        first = self.rank * self.parts
        return [list(clips[i * size : (i + 1) * size]) for i in range(first, first + self.parts)]


_WHOLE = Share()


class StepSampler(Sampler[list[Key]]):
    """The clips of every step, from ``start`` to ``steps``: a function of (seed, epoch).

    Yields a step's micro-batches one after the other, those of ``share`` alone; the whole step
    is the same however it is shared.

    In an epoch each video's clips are shuffled and cut into groups of ``clips_per_video``; the
    groups are shuffled and dealt into batches (Sec. 4.2: three pairs of one long video in an
    iteration); where a video's clips do not divide into groups, a batch's end may cut one. Clips
    that do not fill the last batch wait for another epoch's shuffle.

    ``videos`` names the video of each of ``rows``, the clips that are dealt (default: all).
    """

    def __init__(
        self,
        videos: Sequence[str],
        *,
        rows: Sequence[int] | None = None,
        batch: int,
        group: int,
        seed: int,
        start: int,
        steps: int,
        share: Share = _WHOLE,
    ) -> None:
        self.share = share
        self.rows = range(len(videos)) if rows is None else rows
        self.batch = min(batch, len(videos))
        self.group = group
        self.seed = seed
        self.start = start
        self.steps = steps
        self.per_epoch = len(videos) // self.batch
        self._by_video: dict[str, list[int]] = defaultdict(list)
        for i, video in enumerate(videos):
            self._by_video[video].append(i)

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
            yield from self.share.of([(self.rows[i], epoch) for i in chosen])

    def _order(self, epoch: int) -> list[int]:
        draw = generator(self.seed, "order", epoch)

        def shuffle(items: list[int]) -> list[int]:
            return [items[i] for i in torch.randperm(len(items), generator=draw).tolist()]

        groups = []
        for clips in self._by_video.values():
            mixed = shuffle(clips)
            groups += [mixed[i : i + self.group] for i in range(0, len(mixed), self.group)]
        return [clip for g in shuffle(list(range(len(groups)))) for clip in groups[g]]
