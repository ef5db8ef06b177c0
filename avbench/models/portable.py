"""The folder of an exported captioner: written, checked and read back here.

It holds ``model.json`` (architecture, inputs, decoding, provenance, the other files' hashes),
``weights.safetensors``, ``tokenizer.json`` and a ``README.md`` for people. Nothing in it is
pickled, and ``model.json`` names no path: the files' names are fixed.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError
from safetensors.torch import load_file

from avbench.core import options
from avbench.core.components import ComponentRef
from avbench.core.errors import AvbenchError, UnknownNameError
from avbench.core.job import write_json
from avbench.core.registry import SINGULAR, Registry
from avbench.data.tokenizer import FILE as TOKENIZER
from avbench.data.tokenizer import Vocabulary
from avbench.models.captioner import Captioner
from avbench.models.settings import ComputeSettings, DecodeSettings
from avbench.models.weights import MODEL, WEIGHTS, Architecture

FORMAT, VERSION = "avbench captioner", 1
"""What ``model.json`` says that it is, and the version of its form."""

README = "README.md"


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where a component came from when the captioner was exported."""

    family: str
    name: str
    module: str
    distribution: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FileHash:
    """What a file must hold."""

    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """All that ``model.json`` says, but its format and version."""

    architecture: Architecture
    decode: DecodeSettings
    compute: ComputeSettings
    read: Literal["stored", "raw"]
    """Among which frames testing chose, see ``data.prepared.single``."""
    components: tuple[Origin, ...]
    """The plugins that the architecture needs."""
    files: Mapping[str, FileHash]
    provenance: Mapping[str, Any]
    """What it was made from and by; for people, nothing depends on it."""

    @property
    def started_from(self) -> Mapping[str, str]:
        """What each encoder's weights were before any training."""
        found: Mapping[str, str] = self.provenance.get("encoders", {})
        return found


def hash_file(path: Path) -> FileHash:
    """A file's size and SHA-256."""
    with path.open("rb") as file:
        return FileHash(
            bytes=path.stat().st_size, sha256=hashlib.file_digest(file, "sha256").hexdigest()
        )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``model.json``."""
    data = {"format": FORMAT, "version": VERSION, **options.plain(manifest)}
    write_json(folder / MODEL, data)


def read_manifest(folder: Path) -> Manifest:
    """Read ``model.json``; the components that it names are not looked for yet.

    Raises:
        AvbenchError: there is no such folder or file, it is malformed, or of a later version.
    """
    path = folder / MODEL
    if not folder.is_dir():
        raise AvbenchError(f"{folder}: no such folder; give one that 'avbench export' wrote")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AvbenchError(f"{folder}: is no exported captioner: {MODEL} is missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise AvbenchError(f"{path}: cannot be read: {error}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        got = data.get("format") if isinstance(data, dict) else data
        raise AvbenchError(
            f"{path}: is no exported captioner: format must be '{FORMAT}', got {got!r}"
        )
    version = data.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        later = type(version) is int and version > VERSION
        hint = "; a later avbench wrote it: update avbench" if later else ""
        raise AvbenchError(
            f"{path}: version {version!r} of the format is not known; avbench "
            f"{metadata.version('avbench')} reads versions 1 to {VERSION}{hint}"
        )
    own = {k: v for k, v in data.items() if k not in ("format", "version")}
    try:
        manifest = options.build(Manifest, own)
    except options.ValidationError as error:
        lines = options.problems(error, Manifest, "")
        raise AvbenchError("\n".join(f"{path}: {line.lstrip(': ')}" for line in lines)) from error
    if set(manifest.files) != {WEIGHTS, TOKENIZER}:
        names = ", ".join(sorted(manifest.files)) or "(none)"
        raise AvbenchError(f"{path}: files: must be {TOKENIZER}, {WEIGHTS}, got {names}")
    return manifest


def load_parts(
    folder: Path, manifest: Manifest, registry: Registry
) -> tuple[Captioner, Vocabulary]:
    """The captioner with its weights, and its tokenizer.

    Raises:
        AvbenchError: a plugin is missing or has other options, a file is missing or damaged, or
            the weights do not fit what the plugins build.
    """
    _check_components(folder, manifest, registry)
    for name, expected in manifest.files.items():
        _check_file(folder / name, expected)
    architecture = manifest.architecture
    try:
        captioner = architecture.build(registry)
    except ValueError as error:
        raise AvbenchError(f"{folder / MODEL}: cannot be built: {error}") from error
    try:
        captioner.load_state_dict(load_file(folder / WEIGHTS))
    except (RuntimeError, SafetensorError) as error:
        made = ", ".join(sorted({o.distribution for o in manifest.components}))
        raise AvbenchError(
            f"{folder / WEIGHTS}: does not fit the captioner that is installed ({error}); "
            f"it was made with {made}"
        ) from error
    vocabulary = Vocabulary.from_file(folder / TOKENIZER, architecture.vocabulary)
    return captioner.eval(), vocabulary


def components_of(architecture: Architecture) -> list[tuple[str, ComponentRef]]:
    """Every component of an architecture, with its family."""
    encoders = [("encoders", ref) for ref in architecture.model.encoders.values()]
    return [
        ("fusions", architecture.fusion),
        ("modalities", architecture.modalities),
        *encoders,
    ]


def _check_components(folder: Path, manifest: Manifest, registry: Registry) -> None:
    """Whether every plugin is there and takes the options that it took."""
    origins = {(o.family, o.name): o for o in manifest.components}
    for family, ref in components_of(manifest.architecture):
        origin = origins.get((family, ref.name))
        by = (
            f"'{origin.module}' ({origin.distribution})"
            if origin
            else "a plugin that is not named"
        )
        try:
            component = registry.get(family, ref.name)
        except UnknownNameError as error:
            raise AvbenchError(
                f"{folder / MODEL}: {error}\nThe captioner was made with the {SINGULAR[family]} "
                f"'{ref.name}' of {by}: install what brings it, or name the folder of its file "
                f"by --plugins-dir"
            ) from error
        try:
            options.build(component.config, ref.options)
        except options.ValidationError as error:
            lines = options.problems(error, component.config, f"{SINGULAR[family]} '{ref.name}'")
            now = f"'{component.module}' ({component.distribution})"
            raise AvbenchError(
                "\n".join(f"{folder / MODEL}: {line}" for line in lines)
                + f"\nIt was made with {by}; installed is {now}"
            ) from error


def _check_file(path: Path, expected: FileHash) -> None:
    if not path.is_file():
        raise AvbenchError(f"{path}: is missing; copy the whole folder, or export it again")
    found = hash_file(path)
    if found != expected:
        raise AvbenchError(
            f"{path}: is damaged or was replaced: {found.bytes} bytes with SHA-256 "
            f"{found.sha256}, {MODEL} says {expected.bytes} bytes with {expected.sha256}"
        )
