"""The folder of an exported captioner: ``write`` makes it, ``load`` checks it and reads it back.

It holds ``model.json`` (architecture, inputs, decoding, provenance, the other files' hashes),
``weights.safetensors``, ``tokenizer.json`` and a ``README.md`` for people. Nothing in it is
pickled. ``model.json`` names no path: the files' names are fixed.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError

from avbench.core import options
from avbench.core.components import ComponentRef
from avbench.core.digest import sha256
from avbench.core.errors import AvbenchError, UnknownNameError
from avbench.core.job import write_json
from avbench.core.numbers import shown
from avbench.core.registry import SINGULAR, Registry
from avbench.core.visible import brief
from avbench.data.tokenizer import FILE as TOKENIZER
from avbench.data.tokenizer import Vocabulary
from avbench.models.captioner import Captioner
from avbench.models.settings import ComputeSettings, DecodeSettings
from avbench.models.weights import MODEL, WEIGHTS, Architecture, load_tensors

FORMAT, VERSION = "avbench captioner", 1
"""The format that ``model.json`` states, and its version."""

README = "README.md"


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """The plugin that a component came from when the captioner was exported."""

    family: str
    name: str
    module: str
    distribution: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FileHash:
    """The size and the hash that a file must have."""

    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "FileHash":
        """Return the size and the hash of a file."""
        return cls(bytes=path.stat().st_size, sha256=sha256(path))


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """The contents of ``model.json``, except its format and version."""

    architecture: Architecture
    decode: DecodeSettings
    compute: ComputeSettings
    read: Literal["stored", "raw"]
    """The frames among which testing chose, see ``data.prepared.single``."""
    components: tuple[Origin, ...]
    """The plugins that the architecture needs."""
    files: Mapping[str, FileHash] = field(default_factory=dict)
    """The weights and the tokenizer; ``write`` fills it in."""
    provenance: Mapping[str, Any]
    """The suite, the stages and the versions behind it; for people, nothing depends on it."""

    @property
    def started_from(self) -> Mapping[str, str]:
        """The initial weights of each encoder, before any training."""
        found: Mapping[str, str] = self.provenance.get("encoders", {})
        return found


def write(
    folder: Path, manifest: Manifest, registry: Registry, *, model: Path, vocabulary: Path
) -> Manifest:
    """Write the folder of a captioner, and check that it can be read back.

    Args:
        folder: the folder to write; it must not exist, or be empty.
        manifest: what it says of the captioner; its ``files`` are filled in.
        registry: the plugins that the captioner needs.
        model: the folder of its training stage.
        vocabulary: the folder of its vocabulary stage.

    Raises:
        AvbenchError: the plugins do not fit the captioner.
        OSError: the folder cannot be written.
    """
    temporary = folder.parent / f".{folder.name}.{os.getpid()}"
    try:
        temporary.mkdir(parents=True)
        shutil.copyfile(model / WEIGHTS, temporary / WEIGHTS)
        shutil.copyfile(vocabulary / TOKENIZER, temporary / TOKENIZER)
        hashes = {name: FileHash.of(temporary / name) for name in (TOKENIZER, WEIGHTS)}
        manifest = replace(manifest, files=hashes)
        data = {"format": FORMAT, "version": VERSION, **options.plain(manifest)}
        write_json(temporary / MODEL, data)
        (temporary / README).write_text(_readme(manifest), encoding="utf-8")
        load(temporary, registry)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return manifest


def load(folder: Path, registry: Registry) -> tuple[Manifest, Captioner, Vocabulary]:
    """Load a captioner with its weights, and its tokenizer.

    Raises:
        AvbenchError: the folder is not whole, is of a later version, or does not fit the
            installed plugins.
    """
    manifest = read_manifest(folder)
    _check_components(folder, manifest, registry)
    for name, expected in manifest.files.items():
        _check_file(folder / name, expected)
    architecture = manifest.architecture
    try:
        captioner = architecture.build(registry)
    except ValueError as error:
        raise AvbenchError(f"{folder / MODEL}: cannot be built: {error}") from error
    try:
        load_tensors(folder / WEIGHTS, captioner)
    except (RuntimeError, SafetensorError) as error:
        made = ", ".join(sorted({o.distribution for o in manifest.components}))
        raise AvbenchError(
            f"{folder / WEIGHTS}: does not fit the captioner that is installed ({error}); "
            f"it was made with {made}"
        ) from error
    vocabulary = Vocabulary.from_file(folder / TOKENIZER, architecture.vocabulary)
    return manifest, captioner.eval(), vocabulary


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
            f"{path}: is no exported captioner: format must be '{FORMAT}', got {shown(got)}"
        )
    version = data.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        later = type(version) is int and version > VERSION
        hint = "; a later avbench wrote it: update avbench" if later else ""
        raise AvbenchError(
            f"{path}: version {shown(version)} of the format is not known; avbench "
            f"{metadata.version('avbench')} reads versions 1 to {VERSION}{hint}"
        )
    own = {k: v for k, v in data.items() if k not in ("format", "version")}
    try:
        manifest = options.build(Manifest, own)
    except options.ValidationError as error:
        lines = options.problems(error, Manifest, "")
        raise AvbenchError("\n".join(f"{path}: {line.lstrip(': ')}" for line in lines)) from error
    if set(manifest.files) != {WEIGHTS, TOKENIZER}:
        names = ", ".join(map(brief, sorted(manifest.files))) or "(none)"
        raise AvbenchError(f"{path}: files: must be {TOKENIZER}, {WEIGHTS}, got {names}")
    return manifest


def origins(architecture: Architecture, registry: Registry) -> tuple[Origin, ...]:
    """Return the plugins that an architecture needs; a local one without its folder."""
    found = []
    for family, ref in _components_of(architecture):
        component = registry.get(family, ref.name)
        by = component.distribution
        found.append(
            Origin(
                family=family,
                name=ref.name,
                module=component.module,
                distribution=Path(by).name if os.sep in by else by,
            )
        )
    return tuple(found)


def _components_of(architecture: Architecture) -> Iterator[tuple[str, ComponentRef]]:
    """Yield each component of an architecture, with its family."""
    yield "fusions", architecture.fusion
    yield "modalities", architecture.modalities
    for ref in architecture.model.encoders.values():
        yield "encoders", ref


def _check_components(folder: Path, manifest: Manifest, registry: Registry) -> None:
    """Check that every plugin is installed and takes the options that it took.

    Raises:
        AvbenchError: one does not.
    """
    known = {(o.family, o.name): o for o in manifest.components}
    for family, ref in _components_of(manifest.architecture):
        origin = known.get((family, ref.name))
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
    found = FileHash.of(path)
    if found != expected:
        raise AvbenchError(
            f"{path}: is damaged or was replaced: {found.bytes} bytes with SHA-256 "
            f"{found.sha256}, {MODEL} says {expected.bytes} bytes with {expected.sha256}"
        )


def _readme(manifest: Manifest) -> str:
    """Return the folder's README: its captioner, its use, its provenance."""
    made, spec = manifest.provenance, manifest.architecture.input
    streams = ", ".join(made["encoders"])
    rows = [
        *((axis, value) for axis, value in made["axes"].items() if value),
        ("preset, data", f"{made['preset']}, {made['data']}"),
        *((k, f"{t['dataset']}, loss {t['loss']['name']}") for k, t in made["training"].items()),
        *((f"{m} encoder started from", text) for m, text in made["encoders"].items()),
        (
            "input",
            f"{spec.frames} frames of {spec.size}×{spec.size}, {spec.mel_frames}×"
            f"{spec.mel_bins} log-mel at {spec.sample_rate} Hz",
        ),
        ("decoding", f"beam {manifest.decode.beam}"),
        *((s["name"], f"{s['value']:.2f} ({s['unit']})") for s in made["scores"]),
    ]
    lines = [
        f"# {made['row']}" + (f", fine-tuned on {made['dataset']}" if made["dataset"] else ""),
        "",
        f"A video captioner that reads {streams}. Exported by {made['exported_by']} from the "
        f"suite `{made['suite']}` ({made['title'] or 'untitled'}), seed {made['seed']}.",
        "",
        "    avbench caption THIS_FOLDER clip.mp4",
        "",
        "    import avbench",
        '    captioner = avbench.load_captioner("THIS_FOLDER")',
        '    print(captioner.caption("clip.mp4"))',
        "",
        "| what | value |",
        "|---|---|",
        *(f"| {what} | {value} |".replace("\n", " ") for what, value in rows),
        "",
        f"`{WEIGHTS}` holds the weights, `{TOKENIZER}` the tokenizer, `{MODEL}` architecture, "
        "inputs, decoding, provenance and the hashes of both, which loading checks.",
        "",
    ]
    return "\n".join(lines)
