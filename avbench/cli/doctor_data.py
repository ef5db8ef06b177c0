"""What ``avbench doctor`` says of a data file: its datasets' files, and the weights that it names.

No annotation is read and no media file opened: that is ``avbench data check``'s.
"""

from collections.abc import Iterator
from pathlib import Path

from avbench.cli.advice import Advice
from avbench.config.builder import Builder
from avbench.config.data_file import DataSource, file_sources, with_weights
from avbench.config.strict_yaml import Problems, load
from avbench.config.suite import preset_sections
from avbench.core.errors import AvbenchError
from avbench.core.registry import Registry
from avbench.core.registry import load as load_plugins

PRESET = "paper"
"""Whose encoders the weights are looked at for: the preset for real data."""


def examine_data(path: Path, plugins_dir: Path | None) -> Iterator[Advice]:
    """Look at what a data file names.

    Args:
        path: the data file.
        plugins_dir: a folder of plugins; None: ``./plugins`` where there is one.
    """
    remedy = f"mend {path}; 'avbench schema data' gives editors its form"
    if not path.is_file():
        yield Advice(check="data", status="problem", found=f"{path}: no such file", remedy=remedy)
        return
    registry = load_plugins(plugins_dir)
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


def _dataset(source: DataSource, registry: Registry, path: Path) -> Advice:
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


def _weights(path: Path, registry: Registry) -> Iterator[Advice]:
    """Whether the files under ``weights`` are there."""
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
