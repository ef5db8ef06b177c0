"""The sources of a suite's datasets: the embedded world, or a user's data file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from avbench.config import strict_yaml
from avbench.config.builder import Builder
from avbench.config.components import normal_component
from avbench.config.strict_yaml import Document
from avbench.core.components import ComponentRef
from avbench.core.errors import DataError, unknown
from avbench.core.numbers import Number
from avbench.core.options import make
from avbench.core.paths import folder
from avbench.core.registry import Registry
from avbench.data.contracts import Dataset
from avbench.data.media.container import CLIP_SECONDS
from avbench.data.settings import SoundPolicy
from avbench.models import pretrained


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSource:
    """One dataset: its reader, its folder, and the handling of its clips."""

    key: str
    reader: ComponentRef
    """The reader and its options, without the folder, which changes no result."""
    root: Path | None
    """The folder of its files; None: the embedded world writes it."""
    policy: Literal["skip", "fail"]
    """Handling of clips that cannot be decoded: leave them out, or fail."""
    read: Literal["stored", "raw"]
    """``stored``: training reads prepared frames; ``raw``: it decodes the media files."""
    sound: SoundPolicy = field(default_factory=SoundPolicy)
    """Handling of clips without sound."""
    clip_seconds: float = CLIP_SECONDS
    """Seconds of processor time for decoding one clip; a clip that needs more is lost."""

    def open(self, registry: Registry) -> Dataset:
        """Return the dataset's reader. For the embedded world it has no files to read."""
        component = registry.get("datasets", self.reader.name)
        root = {} if self.root is None else {"root": str(self.root)}
        dataset: Dataset = make(component, {**self.reader.options, **root})
        return dataset


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetEntry:
    """A dataset in a data file. Every further field is an option of its reader."""

    root: str
    policy: Literal["skip", "fail"] = "skip"
    read: Literal["stored", "raw"] = "stored"
    sound: SoundPolicy = field(default_factory=SoundPolicy)
    clip_seconds: Annotated[float, Number(unit="s", above=0, most=1000000)] = CLIP_SECONDS


@dataclass(frozen=True, kw_only=True, slots=True)
class DataFile:
    """A data file."""

    datasets: dict[str, dict[str, Any]] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)
    """Initial weights of the encoders, by modality; see ``with_weights``."""


def embedded_sources(builder: Builder) -> Mapping[str, DataSource]:
    """Return the datasets of the embedded world, from its file ``data.yaml``."""
    doc = strict_yaml.load(folder("avbench.data.world") / "data.yaml")
    sources = {}
    for key in doc.data:
        reader = normal_component(doc.part((key, "reader")), f"{key}.reader", builder.problems)
        for option in doc.data[key].get("options", {}):
            reader = reader.set(("options", option), doc.part((key, "options", option)))
        ref = builder.component(reader, f"{key}.reader", "datasets")
        if ref is not None:
            sources[key] = DataSource(
                key=key, reader=_without_root(ref), root=None, policy="fail", read="stored"
            )
    return sources


def file_sources(path: Path, builder: Builder) -> Mapping[str, DataSource]:
    """Return the datasets of a data file; folders are absolute or relative to the file."""
    doc = strict_yaml.load(path)
    made = builder.section(DataFile, doc, "")
    sources = {}
    for key in made.datasets if made else ():
        entry = doc.part(("datasets", key))
        own = {k: v for k, v in entry.data.items() if k in DatasetEntry.__dataclass_fields__}
        settings = builder.section(DatasetEntry, Document(own, entry.marks), f"datasets.{key}")
        others = [k for k in entry.data if k not in own and k != "reader"]
        reader = normal_component(
            entry.part(("reader",)), f"datasets.{key}.reader", builder.problems
        )
        for option in others:
            reader = reader.set(("options", option), entry.part((option,)))
        if settings is not None:
            root = (path.parent / Path(settings.root).expanduser()).resolve()
            # The folder is also an option of the reader, which checks it with its other options.
            given = reader.set(
                ("options", "root"), strict_yaml.constant(str(root), entry.mark(("root",)))
            )
            ref = builder.component(given, f"datasets.{key}.reader", "datasets")
            if not root.is_dir():
                builder.problems.add(
                    entry.mark(("root",)), f"datasets.{key}.root: no such folder: {root}"
                )
            elif ref is not None:
                sources[key] = DataSource(
                    key=key,
                    reader=_without_root(ref),
                    root=root,
                    policy=settings.policy,
                    read=settings.read,
                    sound=settings.sound,
                    clip_seconds=settings.clip_seconds,
                )
    return sources


def with_weights(sections: Document, path: Path, builder: Builder) -> Document:
    """Return a suite's sections with the initial weights that a data file gives its encoders.

    ``weights: {video: swin.pth, text: {pretrained: owner/name, revision: v1}, audio: null}``
    gives for each modality a path (relative to the file) or a name, a mapping of options, or null
    for training from scratch. The value is for the encoder's option with the mark
    ``InitialWeights``. A row that names another encoder on an axis keeps that encoder's weights.
    """
    doc, problems = strict_yaml.load(path), builder.problems
    encoders = sections.get(("model", "encoders"))
    encoders = encoders if isinstance(encoders, Mapping) else {}
    given = doc.data.get("weights")
    for modality in given if isinstance(given, Mapping) else ():
        where, mark = f"weights.{modality}", doc.mark(("weights", modality))
        if modality not in encoders:
            problems.add(mark, f"{where}: {unknown('modality', modality, encoders)}")
            continue
        name = encoders[modality].get("name")
        if name not in builder.registry.names("encoders"):
            continue  # reported with the suite's encoders
        known = pretrained.marked(builder.registry.get("encoders", name).config)
        value = doc.part(("weights", modality))
        if not known:
            if value.data is not None:
                text = f"encoder '{name}' has no option for initial weights"
                problems.add(mark, f"{where}: {text}, got {value.data!r}")
            continue
        if not isinstance(value.data, Mapping):
            value = Document({next(iter(known)): value.data}, {(): mark})
        allowed = [*known, *(option for m in known.values() for option in m.also)]
        for option, text in value.data.items():
            here = value.mark((option,))
            if option not in allowed:
                problems.add(here, f"{where}: {unknown('option', option, allowed)}")
                continue
            if option in known and isinstance(text, str):
                try:
                    found = pretrained.local_path(text, known[option], where, path.parent)
                except DataError as error:
                    problems.add(here, str(error))
                    continue
                text = text if found is None else str(found)
            at = ("model", "encoders", modality, "options", option)
            sections = sections.set(at, strict_yaml.constant(text, here))
    return sections


def _without_root(ref: ComponentRef) -> ComponentRef:
    options = {k: v for k, v in ref.options.items() if k != "root"}
    return ComponentRef(name=ref.name, options=options)
