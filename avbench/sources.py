"""Where a suite's datasets come from: the embedded world, or a data file of the user's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from avbench import documents
from avbench.documents import Document
from avbench.files import folder
from avbench.forms import normal_component
from avbench.sections import Builder
from avbench.settings import ComponentRef


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSource:
    """One dataset: its reader, where its files lie, and how they are treated."""

    key: str
    reader: ComponentRef
    """The reader and its options, without the folder, which no result depends on."""
    root: Path | None
    """The folder of its files; None: the embedded world writes it."""
    policy: Literal["skip", "fail"]
    """What becomes of a clip that cannot be decoded."""
    read: Literal["stored", "raw"]
    """Whether training reads prepared frames or the media themselves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """A dataset in a data file; every further field is an option of its reader."""

    root: str
    policy: Literal["skip", "fail"] = "skip"
    read: Literal["stored", "raw"] = "stored"


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    """A data file."""

    datasets: dict[str, dict[str, Any]] = field(default_factory=dict)


def embedded_sources(builder: Builder) -> Mapping[str, DataSource]:
    """The datasets of the embedded world, as its table lists them."""
    doc = documents.load(folder("avbench.world") / "data.yaml")
    sources = {}
    for key in doc.data:
        reader = normal_component(doc.part((key, "reader")), f"{key}.reader", builder.problems)
        for option in doc.data[key].get("options", {}):
            reader = reader.set(("options", option), doc.part((key, "options", option)))
        ref = builder.component(reader, f"{key}.reader", "datasets")
        if ref is not None:
            sources[key] = DataSource(
                key=key, reader=_rootless(ref), root=None, policy="fail", read="stored"
            )
    return sources


def file_sources(path: Path, builder: Builder) -> Mapping[str, DataSource]:
    """The datasets of a data file; folders are absolute or relative to the file."""
    doc = documents.load(path)
    made = builder.section(_File, doc, "")
    sources = {}
    for key in made.datasets if made else ():
        entry = doc.part(("datasets", key))
        own = {k: v for k, v in entry.data.items() if k in _Entry.__dataclass_fields__}
        settings = builder.section(_Entry, Document(own, entry.marks), f"datasets.{key}")
        others = [k for k in entry.data if k not in own and k != "reader"]
        reader = normal_component(
            entry.part(("reader",)), f"datasets.{key}.reader", builder.problems
        )
        for option in others:
            reader = reader.set(("options", option), entry.part((option,)))
        if settings is not None:
            root = (path.parent / Path(settings.root).expanduser()).resolve()
            # The reader's own config has the folder too, and checks it with the other options.
            given = reader.set(
                ("options", "root"), documents.constant(str(root), entry.mark(("root",)))
            )
            ref = builder.component(given, f"datasets.{key}.reader", "datasets")
            if not root.is_dir():
                builder.problems.add(
                    entry.mark(("root",)), f"datasets.{key}.root: no such folder: {root}"
                )
            elif ref is not None:
                sources[key] = DataSource(
                    key=key,
                    reader=_rootless(ref),
                    root=root,
                    policy=settings.policy,
                    read=settings.read,
                )
    return sources


def _rootless(ref: ComponentRef) -> ComponentRef:
    options = {k: v for k, v in ref.options.items() if k != "root"}
    return ComponentRef(name=ref.name, options=options)
