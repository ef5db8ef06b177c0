"""Settings of data: clips, vocabulary and the embedded world.

Frozen dataclasses. Each field states its unit and the paper's value, which is the default if the
paper gives one. They are part of the specs of stages, so stage ids hash them.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from avbench.core.numbers import SEED, Number

Task = Literal["pcc", "pnc"]
"""Predict Current Caption (starts with BOS1), Predict Next Caption (BOS2); Sec. 3.1."""

EpochOf = Literal["clips", "videos"]
"""The things that an epoch passes over once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingSettings:
    """Sampling of a clip for training: its inputs, and the captions that are its targets."""

    tasks: tuple[Task, ...] = ("pcc",)
    """The captions that are targets, in this order."""
    captions: Literal["one", "all"] = "one"
    """Captions of a clip in an epoch: ``one``, drawn anew in each, or ``all``, each as a sample of
    its own with its own draws (MSR-VTT has 20 a clip, VATEX 10). The paper does not say; ``all``
    is what the fine-tuning of UniVL (Luo et al., 2020) does, and the preset ``paper`` takes."""
    pnc_share: Annotated[float, Number(unit="share", above=0, most=1)] = 1.0
    """Share of the clips with a next caption for which a step predicts it too; beside pcc."""
    spec_augment: bool = True
    mask_speech: Annotated[float, Number(unit="share", least=0, most=1)] = 0.0
    """Share of the input ASR word pieces that are masked (V+T's leak; BERT: 15 %)."""

    def __post_init__(self) -> None:
        if not self.tasks or len(set(self.tasks)) != len(self.tasks):
            raise ValueError(f"tasks must be pcc, pnc or both, got {list(self.tasks)}")
        if self.captions == "all" and "pcc" not in self.tasks:
            raise ValueError(f"captions: all needs the task pcc, got tasks {list(self.tasks)}")
        if self.pnc_share < 1 and set(self.tasks) != {"pcc", "pnc"}:
            raise ValueError(
                f"pnc_share {self.pnc_share} needs the tasks pcc and pnc, got {list(self.tasks)}"
            )


SoundUse = Literal["use", "drop", "fail"]
"""``use``: the clip is kept, and a frame of zero amplitude stands where there is no sound;
``drop``: the clip is lost, with its reason; ``fail``: the stage fails."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SoundPolicy:
    """Use of clips without sound, by the state of their sound (``types.SoundState``)."""

    absent: SoundUse = "use"
    """The file has no sound track."""
    silent: SoundUse = "use"
    """The track is (nearly) zero throughout the clip."""
    undecodable: SoundUse = "use"
    """There is a track that cannot be decoded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VocabularySettings:
    """The tokenizer: WordPiece trained on the training captions, or one given."""

    size: Annotated[int, Number(unit="tokens", least=8, most=10000000, source="App. A")] = 30_522
    """Tokens, the special ones included; the rows of the embedding (paper: BERT's 30,522)."""
    file: str | None = None
    """A ``tokenizer.json`` or ``vocab.txt`` to use unchanged; None: train one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorldSettings:
    """The embedded world AVScenes: its size, and the settings that decide modality relevance."""

    seed: Annotated[int, SEED] = 0
    narrated_videos: Annotated[int, Number(unit="videos", least=1, most=1000000)] = 500
    """Long videos of the narrated corpus."""
    steps_per_video: Annotated[int, Number(unit="clips", least=1, most=1000)] = 8
    """Narrated clips in each."""
    clips: Annotated[int, Number(unit="clips", least=12, most=1000000)] = 600
    """Training clips of each captioned set."""
    test_clips: Annotated[int, Number(unit="clips", least=12, most=1000000)] = 150
    """Test clips of each captioned set."""
    size: Annotated[int, Number(unit="pixels", least=32, most=2048)] = 64
    """Height and width of the frames, pixels."""
    fps: Annotated[int, Number(unit="frames a second", least=4, most=120)] = 10
    """Frames a second."""
    voices: Annotated[int, Number(unit="speakers", least=1, most=6)] = 2
    """Speakers of the narrated corpus."""
    agreement: Annotated[float, Number(unit="share", least=0, most=1)] = 0.4
    """Share of visual slots in which the picture shows what the narration says."""
    spoken: Annotated[float, Number(unit="share", least=0, most=1)] = 1.0
    """Share of narrated clips whose sound carries the narration; lower makes sound weaker."""
    onset_jitter: Annotated[float, Number(unit="s", least=0, most=0.4)] = 0.0
    """Longest random delay of the narration, seconds; 0: a steady onset."""
    distractors: Annotated[int, Number(unit="objects", least=0, most=100)] = 0
    """Small grey objects beside the one that the captions tell of, per clip."""
    datasets: tuple[str, ...] = ()
    """Keys of the sets to generate; empty: all. A set does not depend on the others."""

    def __post_init__(self) -> None:
        if self.size % 2:
            raise ValueError(f"size must be even (H.264 halves the colours), got {self.size}")
