"""Settings of data: clips, vocabulary and the embedded world.

Frozen dataclasses. Each field states its unit and the paper's value, which is the default if the
paper gives one. They are part of the specs of stages, so stage ids hash them.
"""

from dataclasses import dataclass
from typing import Literal

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
    pnc_share: float = 1.0
    """Share of the clips with a next caption for which a step predicts it too; beside pcc."""
    spec_augment: bool = True
    mask_speech: float = 0.0
    """Share of the input ASR word pieces that are masked (V+T's leak; BERT: 15 %)."""

    def __post_init__(self) -> None:
        if not self.tasks or len(set(self.tasks)) != len(self.tasks):
            raise ValueError(f"tasks must be pcc, pnc or both, got {list(self.tasks)}")
        if self.captions == "all" and "pcc" not in self.tasks:
            raise ValueError(f"captions: all needs the task pcc, got tasks {list(self.tasks)}")
        if not 0 < self.pnc_share <= 1:
            raise ValueError(f"pnc_share must be in (0, 1], got {self.pnc_share}")
        if self.pnc_share < 1 and set(self.tasks) != {"pcc", "pnc"}:
            raise ValueError(
                f"pnc_share {self.pnc_share} needs the tasks pcc and pnc, got {list(self.tasks)}"
            )
        if not 0 <= self.mask_speech <= 1:
            raise ValueError(f"mask_speech must be in [0, 1], got {self.mask_speech}")


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

    size: int = 30_522
    """Tokens, the special ones included; the rows of the embedding (paper: BERT's 30,522)."""
    file: str | None = None
    """A ``tokenizer.json`` or ``vocab.txt`` to use unchanged; None: train one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorldSettings:
    """The embedded world AVScenes: its size, and the settings that decide modality relevance."""

    seed: int = 0
    narrated_videos: int = 500
    """Long videos of the narrated corpus."""
    steps_per_video: int = 8
    """Narrated clips in each."""
    clips: int = 600
    """Training clips of each captioned set."""
    test_clips: int = 150
    """Test clips of each captioned set."""
    size: int = 64
    """Height and width of the frames, pixels."""
    fps: int = 10
    """Frames a second."""
    voices: int = 2
    """Speakers of the narrated corpus."""
    agreement: float = 0.4
    """Share of visual slots in which the picture shows what the narration says."""
    spoken: float = 1.0
    """Share of narrated clips whose sound carries the narration; lower makes sound weaker."""
    onset_jitter: float = 0.0
    """Longest random delay of the narration, seconds; 0: a steady onset."""
    distractors: int = 0
    """Small grey objects beside the one that the captions tell of, per clip."""
    datasets: tuple[str, ...] = ()
    """Keys of the sets to generate; empty: all. A set does not depend on the others."""

    def __post_init__(self) -> None:
        for name in ("agreement", "spoken"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        least = {
            "narrated_videos": 1,
            "steps_per_video": 1,
            "clips": 12,
            "test_clips": 12,
            "size": 32,
            "fps": 4,
            "voices": 1,
            "distractors": 0,
        }
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be at least {low}, got {getattr(self, name)}")
        if self.voices > 6:
            raise ValueError(f"voices must be at most 6, got {self.voices}")
        if self.size % 2:
            raise ValueError(f"size must be even (H.264 halves the colours), got {self.size}")
        if not 0 <= self.onset_jitter <= 0.4:
            raise ValueError(f"onset_jitter must be in [0, 0.4], got {self.onset_jitter}")
