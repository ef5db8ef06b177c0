"""The settings of a suite, as frozen dataclasses. Each says its unit and the paper's value.

Defaults are the paper's where it gives one. Presets (``avbench/config/presets/*.yaml``) and suites
override them; what is here is also what the specs of the stages hold, so all of it is hashed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

from avbench.core.types import InputSpec, Modality
from avbench.evaluation.perturbation import Alteration
from avbench.models.kernels.attention import Backend

Task = Literal["pcc", "pnc"]
"""Predict Current Caption (starts with BOS1), Predict Next Caption (BOS2); Sec. 3.1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ComponentRef:
    """A component by name, with its options; in YAML a name alone or a mapping with ``name``."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


SoundUse = Literal["use", "drop", "fail"]
"""``use``: the clip is kept, and a frame of zero amplitude stands where there is no sound;
``drop``: it is lost, with its reason; ``fail``: nothing goes on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SoundPolicy:
    """What becomes of clips without sound, by why they have none (``types.SoundState``)."""

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
    """A ``tokenizer.json`` or ``vocab.txt`` to use as it is; None: train one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSettings:
    """The captioner's geometry (Sec. 4.2, App. A)."""

    D: int = 768
    """Model width."""
    heads: int = 12
    """Attention heads of the cross-modal encoder and the decoder."""
    cross_layers: int = 3
    decoder_layers: int = 3
    dropout: float = 0.1
    norm: Literal["pre", "post"] = "pre"
    """Of the decoder; fusions and encoders have their own. Open in the paper (Eq. 8)."""
    zeroing: Literal["zeros", "mask"] = "zeros"
    """A zeroed stream is attended to as zeros (Eq. 2), or hidden from attention."""
    encoders: Mapping[Modality, ComponentRef] = field(default_factory=dict)
    """The encoder of each modality that a row may use."""

    def __post_init__(self) -> None:
        if self.D % self.heads:
            raise ValueError(f"heads must divide D, got D={self.D} and heads={self.heads}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectionSettings:
    """How the best step of a training is found, where ``select`` is ``best``.

    Captions are scored on the dataset's own split for selection (the reader's option ``select``)
    or, where there is none, on training videos that are kept out of training.
    """

    by: str = "cider"
    """The score that decides, as a metric of ``evaluate.metrics`` names it."""
    every_epochs: float | None = None
    """Passes over the clips between two evaluations; give either this or every_steps, or neither:
    one pass."""
    every_steps: int | None = None
    """Optimiser steps between two evaluations. The last step is always evaluated."""
    beam: int = 1
    """Beam width; 1: greedy. What else there is to a search is as in ``decode``."""
    share: float = 0.1
    """Share of the training videos, by seed, where the dataset has no split of its own."""
    on_report: bool = False
    """Select on the split that is reported. Scores are then no longer those of unseen clips, and
    every table of the suite says so."""

    def __post_init__(self) -> None:
        if self.every_epochs is not None and self.every_steps is not None:
            raise ValueError(
                f"give every_epochs or every_steps, got {self.every_epochs=} and "
                f"{self.every_steps=}"
            )
        for name in ("every_epochs", "every_steps", "beam"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")
        if not 0 < self.share < 1:
            raise ValueError(f"share must be in (0, 1), got {self.share}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSettings:
    """One training stage: pre-training or fine-tuning."""

    loss: ComponentRef
    tasks: tuple[Task, ...] = ("pcc",)
    pnc_share: float = 1.0
    """Share of the clips with a next caption for which a step predicts it too; beside pcc."""
    epochs: float | None = None
    """Passes over the clips; give either this or steps."""
    steps: int | None = None
    """Optimiser steps; give either this or epochs."""
    batch: int = 32
    """Clips per step (one caption of each is drawn)."""
    lr: float = 1e-4
    """Peak learning rate of Adam (paper: 1e-4, fine-tuning 1e-5)."""
    warmup: float = 0.1
    """Share of the run over which the rate rises linearly (paper: 10 %); then it falls to 0."""
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    clip_norm: float | None = 1.0
    """Largest gradient norm; None: unclipped. Open in the paper."""
    accumulate: int = 1
    """Micro-batches that a step's batch is computed in, one after the other, to save memory."""
    clips_per_video: int = 1
    """Clips drawn together from one long video in an iteration (paper: 3 in pre-training)."""
    spec_augment: bool = True
    mask_speech: float = 0.0
    """Share of the input ASR word pieces that are masked (V+T's leak; BERT: 15 %)."""
    measure_every: int = 50
    """Steps between measurements of every mono-modal loss, without gradients (Fig. 4)."""
    select: Literal["last", "best"] = "last"
    """Whose weights are the result: the last step's, as the paper reports, or the best one's on
    clips for selection, see ``selection``."""
    selection: SelectionSettings = field(default_factory=SelectionSettings)
    """What ``best`` means; without effect where ``select`` is ``last``."""

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(f"give epochs or steps, got {self.epochs=} and {self.steps=}")
        if not self.tasks or len(set(self.tasks)) != len(self.tasks):
            raise ValueError(f"tasks must be pcc, pnc or both, got {list(self.tasks)}")
        for name in (
            "steps",
            "epochs",
            "batch",
            "accumulate",
            "clips_per_video",
            "measure_every",
            "lr",
        ):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")
        if not 0 < self.pnc_share <= 1:
            raise ValueError(f"pnc_share must be in (0, 1], got {self.pnc_share}")
        if self.pnc_share < 1 and set(self.tasks) != {"pcc", "pnc"}:
            raise ValueError(
                f"pnc_share {self.pnc_share} needs the tasks pcc and pnc, got {list(self.tasks)}"
            )
        if not 0 <= self.mask_speech <= 1:
            raise ValueError(f"mask_speech must be in [0, 1], got {self.mask_speech}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup must be in [0, 1), got {self.warmup}")
        if self.batch % self.accumulate:
            raise ValueError(
                f"accumulate must divide batch, got {self.accumulate} and {self.batch}"
            )
        if self.batch % self.clips_per_video:
            raise ValueError(
                f"clips_per_video must divide batch, got {self.clips_per_video} and {self.batch}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeSettings:
    """Caption generation (Sec. 4.2)."""

    beam: int = 5
    """Beam width (paper: 5)."""
    length_penalty: float = 1.0
    """Hypotheses compare by log probability over length to this power; 0: by log probability."""
    early_stopping: bool | Literal["never"] = False
    """When a clip's search is over, once as many hypotheses as the beam is wide have ended: false:
    when no other looks better at its present length; never: when none can become better; true: at
    once (Hugging Face's meanings)."""
    batch: int = 32
    """Clips decoded together; changes nothing but time."""

    def __post_init__(self) -> None:
        for name in ("beam", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ComputeSettings:
    """How the network is computed in training and generation; results differ in rounding."""

    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: matrix products and attention in bfloat16; weights, optimiser and losses in fp32."""
    attention: Backend = "auto"
    """What computes attention in the fusion, the decoder and the encoders built of
    ``avbench.api.Attention`` (audio), see ``avbench.models.kernels.attention``. Video Swin
    (attention in windows with a bias), BERT (sdpa) and timm's backbones have their own, whatever
    is set here; the record says what ran."""
    compile: bool = False
    """Whether torch.compile compiles encoders, fusion and (in training) decoder; it needs a C++
    compiler on the CPU, Triton on CUDA. Its graphs draw dropout of their own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorldSettings:
    """The embedded world AVScenes: how much of it, and what decides its modality relevance."""

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
    """Keys of the sets to generate; empty: all. A set is the same whichever others are made."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateSettings:
    """What is measured beside the captions' scores."""

    metrics: tuple[ComponentRef, ...] = ()
    zeroed: tuple[Modality, ...] = ()
    """Streams to zero, one at a time, in additional generations (modality use)."""
    swapped: tuple[Modality, ...] = ()
    """Streams to take from another clip, one at a time, in additional generations."""
    noised: tuple[Modality, ...] = ()
    """Streams to add noise to, one at a time, in additional generations."""
    noise_db: float = 0.0
    """Signal over noise of noised streams, dB; 0: noise of the variance of the clip's input."""
    alteration_seed: int = 0
    """Of the clips that swapped streams are taken from, and of noise; the same for all rows."""
    shapley: bool = False
    """Whether every set of the row's streams is zeroed, in as many additional generations, for
    the Shapley values of the modalities."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.noise_db):
            raise ValueError(f"noise_db must be finite, got {self.noise_db}")

    def alterations(self, encoded: Sequence[Modality]) -> tuple[Alteration, ...]:
        """What is done to a row's streams, one after the other, each once.

        Args:
            encoded: the row's streams that are not zeroed anyway. The only one is zeroed for
                Shapley values alone: without it nothing is left to look at.
        """
        asked = [
            *((m,) for m in self.zeroed if m in encoded and len(encoded) > 1),
            *(
                s
                for n in range(len(encoded) if self.shapley else 0)
                for s in combinations(encoded, n + 1)
            ),
        ]
        swapped = [m for m in self.swapped if m in encoded]
        noised = [m for m in self.noised if m in encoded]
        seed, db = self.alteration_seed, self.noise_db
        made = [
            *(Alteration(how="zeroed", streams=streams) for streams in asked),
            *(Alteration(how="swapped", streams=(m,), seed=seed) for m in swapped),
            *(Alteration(how="noised", streams=(m,), seed=seed, noise_db=db) for m in noised),
        ]
        return tuple(dict.fromkeys(made))


__all__ = [
    "ComponentRef",
    "ComputeSettings",
    "DecodeSettings",
    "EvaluateSettings",
    "InputSpec",
    "ModelSettings",
    "SelectionSettings",
    "SoundPolicy",
    "Task",
    "TrainSettings",
    "VocabularySettings",
    "WorldSettings",
]
