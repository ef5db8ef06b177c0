"""Captions of media files, by a captioner loaded from its folder.

    captioner = avbench.load_captioner("model")
    print(captioner.caption("clip.mp4"))
    print(captioner.caption("film.mkv", start=12.0, end=19.5))

Frames and sound are read as in the suite's testing. A clip of its test split so gets the caption
that the suite gave it, given the same batches, threads and device; else up to rounding.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from avbench.core import options, registry
from avbench.core.errors import AvbenchError, DataError
from avbench.core.types import SoundState
from avbench.data.dataset import Sample, collate
from avbench.data.loader import to
from avbench.data.prepared.single import read_single
from avbench.data.tokenizer import PAD, Vocabulary
from avbench.models import portable
from avbench.models.captioner import Captioner
from avbench.models.compute import place
from avbench.models.generation import captions
from avbench.models.portable import Manifest
from avbench.models.settings import DecodeSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A clip to caption."""

    file: Path
    start: float | None = None
    """Seconds from the file's own start; None: its beginning."""
    end: float | None = None
    """Seconds; None: its end."""
    speech: str | None = None
    """ASR text, for captioners that read text; empty: nobody speaks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Described:
    """The outcome of a request."""

    request: Request
    caption: str | None = None
    score: float | None = None
    """Log probability over length to the power of the length penalty."""
    sound: SoundState | None = None
    warnings: tuple[str, ...] = ()
    """Faults of the file that did not prevent a caption."""
    error: str | None = None
    """The reason why there is no caption."""


class TrainedCaptioner:
    """A captioner with its weights, its tokenizer and the settings for reading media.

    Args:
        manifest: the contents of its ``model.json``.
        captioner: with weights, in eval mode.
        vocabulary: its tokenizer.
        device: the device that it computes on.

    Attributes:
        manifest: see above; ``manifest.provenance`` names the suite and the stages behind it.
        network: the module itself.
    """

    def __init__(
        self,
        manifest: Manifest,
        captioner: Captioner,
        vocabulary: Vocabulary,
        device: torch.device,
    ) -> None:
        self.manifest = manifest
        self.network = place(captioner, manifest.compute, device).eval()
        self.vocabulary = vocabulary
        self.device = device

    @property
    def streams(self) -> tuple[str, ...]:
        """The modalities that the captioner reads."""
        return self.network.configuration.encoded

    @property
    def reads_text(self) -> bool:
        """True if it needs the speech of a clip as text."""
        return "text" in self.streams

    def caption(
        self,
        file: Path | str,
        *,
        start: float | None = None,
        end: float | None = None,
        speech: str | None = None,
        beam: int | None = None,
    ) -> str:
        """Return the caption of a clip.

        Args:
            file: a media file of any container, with or without sound.
            start: seconds from the file's own start; None: its beginning.
            end: seconds; None: its end.
            speech: ASR text of the clip, where the captioner reads text.
            beam: width of the search; None: as in the suite.

        Raises:
            AvbenchError: the file cannot be used, or speech is missing or has no effect.
        """
        request = Request(file=Path(file), start=start, end=end, speech=speech)
        described = next(self.describe([request], beam=beam))
        if described.caption is None:
            raise DataError(str(described.error))
        return described.caption

    def describe(
        self, requests: Iterable[Request], *, beam: int | None = None, batch: int | None = None
    ) -> Iterator[Described]:
        """Yield the captions of many clips, in order; an unreadable clip is an outcome, no error.

        Args:
            requests: the clips.
            beam: width of the search; None: as in the suite.
            batch: clips decoded together; None: as in the suite.

        Raises:
            AvbenchError: speech is missing or has no effect, or a number is not positive.
        """
        settings = self._settings(beam, batch)
        waiting: list[tuple[Described, Sample | None]] = []
        for request in requests:
            self._check_speech(request)
            waiting.append(self._read(request))
            if sum(sample is not None for _, sample in waiting) == settings.batch:
                yield from self._flush(waiting, settings)
                waiting = []
        yield from self._flush(waiting, settings)

    def _settings(self, beam: int | None, batch: int | None) -> DecodeSettings:
        asked = {k: v for k, v in (("beam", beam), ("batch", batch)) if v is not None}
        try:
            return options.build(DecodeSettings, {**options.plain(self.manifest.decode), **asked})
        except options.ValidationError as error:
            lines = options.problems(error, DecodeSettings, "")
            raise AvbenchError("\n".join(lines)) from error

    def _check_speech(self, request: Request) -> None:
        if self.reads_text and request.speech is None:
            raise AvbenchError(
                f"{request.file}: the captioner reads {', '.join(self.streams)}: give the "
                "clip's speech as text (empty where nobody speaks)"
            )
        if not self.reads_text and request.speech is not None:
            raise AvbenchError(
                f"{request.file}: the captioner reads {', '.join(self.streams)} and no text: "
                "speech has no effect"
            )

    def _read(self, request: Request) -> tuple[Described, Sample | None]:
        """Read a clip's inputs; None: the clip cannot be used."""
        spec = self.manifest.architecture.input
        try:
            clip = read_single(
                request.file,
                spec,
                read=self.manifest.read,
                start=request.start,
                end=request.end,
            )
        except DataError as error:
            return Described(request=request, error=str(error)), None
        warnings = list(clip.notes)
        if "audio" in self.streams and clip.sound is SoundState.UNDECODABLE:
            others = [m for m in self.streams if m != "audio"]
            warnings.append(f"captioned from {' and '.join(others) or 'silence'} alone")
        elif self.streams == ("audio",) and clip.sound is SoundState.ABSENT:
            warnings.append("there is no sound track: captioned from silence")
        text = self.vocabulary.words(request.speech or "", spec.speech_tokens)
        sample = Sample(
            id=str(request.file),
            video=clip.frames,
            audio=clip.mel,
            text=text + [PAD] * (spec.speech_tokens - len(text)),
            captions=[],
        )
        return Described(request=request, sound=clip.sound, warnings=tuple(warnings)), sample

    def _flush(
        self, waiting: list[tuple[Described, Sample | None]], settings: DecodeSettings
    ) -> Iterator[Described]:
        """Caption the clips that were read; yield the outcomes in order."""
        samples = [sample for _, sample in waiting if sample is not None]
        found = iter(self._captions(samples, settings) if samples else ())
        for described, sample in waiting:
            if sample is None:
                yield described
            else:
                caption, score = next(found)
                yield replace(described, caption=caption, score=score)

    def _captions(
        self, samples: list[Sample], settings: DecodeSettings
    ) -> list[tuple[str, float]]:
        with torch.inference_mode():
            return captions(
                self.network,
                self.vocabulary,
                to(collate(samples), self.device),
                settings,
                view=self.network.joint,
                length=self.manifest.architecture.input.caption_tokens,
            )


def load_captioner(
    path: Path | str, *, device: str = "cpu", plugins_dir: Path | str | None = None
) -> TrainedCaptioner:
    """Load a captioner that ``avbench export`` wrote.

    Args:
        path: its folder.
        device: ``cpu``, ``cuda``, or ``auto``.
        plugins_dir: a folder of plugins; None: ``./plugins`` if there is one.

    Raises:
        AvbenchError: the folder is damaged, is of a later version, or needs a plugin that is not
            installed; the message says which.
    """
    plugins = registry.load(Path(plugins_dir) if plugins_dir is not None else None)
    manifest, captioner, vocabulary = portable.load(Path(path), plugins)
    return TrainedCaptioner(manifest, captioner, vocabulary, usable_device(device))


def usable_device(name: str) -> torch.device:
    """Return a device of this machine.

    Raises:
        AvbenchError: there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type == "meta":
            raise RuntimeError("it holds no values")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = str(error).splitlines()[0]
        here = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        allowed = ["cpu", "cuda", *here, "auto"]
        raise AvbenchError(
            f"device '{name}' cannot be used: {reason}. Allowed: {', '.join(allowed)}"
        ) from error
    return device
