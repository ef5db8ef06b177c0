"""The command ``avbench caption``: captions of media files; problems go to standard error."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from avbench.core.errors import AvbenchError
from avbench.core.visible import json_text, visible
from avbench.data.annotations.strict_json import open_json
from avbench.models.inference import Described, Request, TrainedCaptioner, load_captioner


def describe_files(
    model: Path,
    files: Sequence[Path],
    *,
    start: float | None,
    end: float | None,
    speech: str | None,
    speech_file: Path | None,
    beam: int | None,
    batch: int | None,
    device: str,
    threads: int,
    plugins_dir: Path | None,
    as_json: bool,
) -> bool:
    """Print the caption of each file.

    The caption of a single file is printed alone, those of several as lines of
    ``file<TAB>caption``, in order. Errors and warnings go to standard error.

    Returns:
        True if every file has a caption.

    Raises:
        AvbenchError: the model's folder has errors, or speech is missing or has no effect.
    """
    torch.set_num_threads(threads)
    captioner = load_captioner(model, device=device, plugins_dir=plugins_dir)
    texts = speech_of(captioner, files, speech, speech_file)
    requests = [
        Request(file=file, start=start, end=end, speech=text)
        for file, text in zip(files, texts, strict=True)
    ]
    shown: list[dict[str, Any]] = []
    good = True
    for described in _with_messages(captioner.describe(requests, beam=beam, batch=batch)):
        good = good and described.error is None
        if as_json:
            shown.append(as_data(described))
        elif described.caption is not None and len(files) == 1:
            print(visible(described.caption), flush=True)
        elif described.caption is not None:
            print(
                f"{_printable(described.request.file)}\t{visible(described.caption)}", flush=True
            )
    if as_json:
        print(json_text(shown))
    return good


def speech_of(
    captioner: TrainedCaptioner,
    files: Sequence[Path],
    speech: str | None,
    speech_file: Path | None,
) -> list[str | None]:
    """Return the speech of each file; None if the captioner reads no text.

    Raises:
        AvbenchError: speech is missing, has no effect, or is given twice.
    """
    reads = ", ".join(captioner.streams)
    if not captioner.reads_text:
        if speech is not None or speech_file is not None:
            option = "--speech" if speech is not None else "--speech-file"
            raise AvbenchError(f"{option}: the captioner reads {reads}, no text: no effect")
        return [None] * len(files)
    if (speech is None) == (speech_file is None):
        raise AvbenchError(
            f"the captioner reads {reads}: give --speech TEXT ('' where nobody speaks) or "
            f"--speech-file FILE, got {'none' if speech is None else 'both'}"
        )
    if speech_file is None:
        if len(files) > 1:
            raise AvbenchError(
                f"--speech: needs exactly one file, got {len(files)}; use --speech-file"
            )
        return [speech]
    known: Mapping[str, str] = {
        name: text.string() for name, text in open_json(speech_file).fields()
    }
    found: list[str | None] = []
    for file in files:
        name = next((n for n in (str(file), file.name, file.stem) if n in known), None)
        if name is None:
            raise AvbenchError(
                f"--speech-file {speech_file}: has no text for {file}; keys may be its path, "
                "its name, or its name without extension"
            )
        found.append(known[name])
    return found


def as_data(described: Described) -> dict[str, Any]:
    """Return the data that ``--json`` prints for a file."""
    request = described.request
    return {
        "file": _text(str(request.file)),
        "start": request.start,
        "end": request.end,
        "caption": described.caption,
        "score": described.score,
        "sound": described.sound.value if described.sound else None,
        "warnings": list(described.warnings),
        "error": described.error,
    }


def _with_messages(results: Iterator[Described]) -> Iterator[Described]:
    """Pass results on, and print their warnings and errors to standard error."""
    for described in results:
        for warning in described.warnings:
            _print_error(f"warning: {_printable(described.request.file)}: {warning}")
        if described.error is not None:
            _print_error(f"error: {described.error}")
        yield described


def _print_error(text: str) -> None:
    print(visible(text), file=sys.stderr, flush=True)


def _printable(file: Path) -> str:
    """Return a file's name on one line."""
    return visible(str(file))


def _text(text: str) -> str:
    """Escape bytes of file names that are not UTF-8, so that the text can be printed."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
