"""Checks before a run: faults that every stage would fail by are reported before the first one.

``avbench doctor`` examines folders by the same ``probe``.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.core.errors import AvbenchError
from avbench.core.job import sync
from avbench.runner.lock import NoLocksError, StageLock
from avbench.runner.stage_kinds import KINDS

if TYPE_CHECKING:
    from avbench.core.registry import Registry
    from avbench.runner.plan import Stage
    from avbench.runner.scheduler import Run

SAMPLE = bytes(1 << 16)
"""Contents of the file that ``probe`` writes."""


@dataclass(frozen=True, slots=True)
class Probe:
    """The finding on a folder."""

    place: Path
    """The folder, or the first of its parents that exists."""
    problem: str = ""
    """The reason why no stage can be written there; empty: stages can."""
    durable: bool = True
    """False: the file system does not confirm that files are on disk (fsync)."""


def probe(folder: Path) -> Probe:
    """Write, rename, sync and lock a file in a folder, and remove it.

    A folder that does not exist is not made; its first existing parent is tried.
    """
    there = folder.absolute()
    try:
        while not there.exists() and there != there.parent:
            there = there.parent
        with tempfile.TemporaryDirectory(
            prefix=".avbench-", dir=there, ignore_cleanup_errors=True
        ) as name:
            written, renamed = Path(name, "written"), Path(name, "renamed")
            written.write_bytes(SAMPLE)
            durable = sync(written)
            written.replace(renamed)
            first, second = StageLock(Path(name)), StageLock(Path(name))
            excludes = first.acquire() and not second.acquire()
            first.release()
            second.release()
    except NoLocksError as error:
        return Probe(there, str(NoLocksError(folder, error.reason)))
    except OSError as error:
        return Probe(there, f"{folder}: cannot be written: {error.strerror}")
    if not excludes:
        return Probe(there, str(NoLocksError(folder, "two processes got the same lock")))
    return Probe(there, durable=durable)


def check_folder(folder: Path, remedy: str) -> None:
    """Check that stages can be written to a folder.

    Raises:
        AvbenchError: they cannot.
    """
    problem = probe(folder).problem
    if problem:
        raise AvbenchError(f"{problem}; {remedy}")


def check(run: "Run", plugins_dir: Path | None = None) -> None:
    """Check what the waiting stages of a run need of this machine.

    Raises:
        AvbenchError: a folder of stages cannot be written, the device is not there, a batch does
            not divide among the processes, or initial weights or a vocabulary cannot be loaded;
            names them all, one per line.
    """
    waiting = [run.plan.stages[id_] for id_, state in run.status.items() if state == "waiting"]
    if not waiting:
        return
    found = [*_folders(run, waiting), *_device(run), *_batches(run, waiting)]
    # Weights may take long, so they are only tried where the rest is well.
    found = found or [*_vocabularies(waiting), *_weights(run, waiting, plugins_dir)]
    if found:
        raise AvbenchError("\n".join(dict.fromkeys(found)))


def _folders(run: "Run", stages: Iterable["Stage"]) -> Iterator[str]:
    remedies = {
        False: (run.store.results, "give another folder with --results"),
        True: (run.store.cache, "set AVBENCH_CACHE to a folder of yours"),
    }
    for shared in {stage.shared for stage in stages}:
        base, remedy = remedies[shared]
        problem = probe(base / "stages").problem
        if problem:
            yield f"{problem}; {remedy}"


def _device(run: "Run") -> Iterator[str]:
    name, processes = str(run.local.get("device", "cpu")), run.executor.processes
    if name in ("cpu", "auto") and processes == 1:
        return  # torch takes seconds to load, and is not needed here
    import torch

    from avbench.models.inference import usable_device

    try:
        device = usable_device(name)
    except AvbenchError as error:
        yield f"--device: {error}"
        return
    if device.type == "cuda" and processes > torch.cuda.device_count():
        yield (
            f"--processes {processes}: each needs a device of its own, and this machine has "
            f"{torch.cuda.device_count()}"
        )


def _batches(run: "Run", stages: Iterable["Stage"]) -> Iterator[str]:
    """Yield the trainings whose batch does not divide among their processes."""
    processes = run.executor.processes
    for stage in stages if processes > 1 else ():  # the settings themselves divide
        if KINDS[stage.kind].distributed:
            batch, each = (stage.spec["train"][name] for name in ("batch", "accumulate"))
            if batch % (processes * each):
                yield (
                    f"--processes: the batch of {stage.kind} must divide among {processes} "
                    f"processes of {each} micro-batches, got {batch}"
                )


def _vocabularies(stages: Iterable["Stage"]) -> Iterator[str]:
    for stage in stages:
        if stage.kind == "vocabulary" and stage.spec["file"] is not None:
            from avbench.data.tokenizer import Vocabulary

            try:
                Vocabulary.from_file(Path(stage.local["file"]), stage.spec["size"])
            except AvbenchError as error:
                yield f"vocabulary.file: {error}"


def _weights(run: "Run", stages: Sequence["Stage"], plugins_dir: Path | None) -> Iterator[str]:
    """Build each encoder that starts from initial weights, once, and drop it again."""
    # Only trainings with initial weights have settings of this machine.
    begun = [s for s in stages if KINDS[s.kind].distributed and s.local]
    if not begun:
        return
    from avbench.core.options import canonical
    from avbench.core.registry import load

    registry = load(plugins_dir)
    tried: set[str] = set()
    for stage in begun:
        size = run.plan.stages[stage.parents["vocabulary"]].spec["size"]
        for modality in stage.spec["model"]["encoders"]:
            text = canonical([modality, stage.spec["model"], stage.spec["input"], size])
            if text not in tried:
                tried.add(text)
                problem = _encoder_problem(modality, stage, size, registry)
                if problem:
                    yield f"model.encoders.{modality}: {problem}"


def _encoder_problem(modality: Any, stage: "Stage", size: int, registry: "Registry") -> str:
    """Return the reason why an encoder cannot be built with its weights; empty: it can."""
    from avbench.core.options import build
    from avbench.core.types import InputSpec
    from avbench.data.tokenizer import PAD
    from avbench.models import pretrained
    from avbench.models.captioner import build_encoder
    from avbench.models.contracts import EncoderContext
    from avbench.models.settings import ModelSettings

    model = build(ModelSettings, stage.spec["model"])
    if pretrained.cleared(model, registry).encoders[modality] == model.encoders[modality]:
        return ""  # it starts from scratch
    inputs = build(InputSpec, stage.spec["input"])
    context = EncoderContext(D=model.D, input=inputs, vocabulary=size, pad=PAD)
    try:
        placed = pretrained.placed(model, registry, stage.local[pretrained.ROLE])
        build_encoder(modality, placed.encoders[modality], context, registry)
    except AvbenchError as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""
