"""The local files of a dataset: its annotations, and its media by id."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from avbench.errors import DataError
from avbench.media.annotations import checked_id, open_json

EXTENSIONS = (
    ".mp4", ".mkv", ".webm", ".mov", ".m4v", ".avi",
    ".flv", ".wmv", ".mpg", ".mpeg", ".ts", ".3gp", ".ogv",
)  # fmt: skip
"""Containers of media, the preferred first where an id has several files."""

ASR = "asr.json"
"""Optional file in the root, {clip id: text}: the speech of each clip (our convention)."""


class LocalFiles:
    """The files of one dataset; nothing is read before it is asked for.

    Args:
        dataset: the reader's name, for errors.
        root: the dataset's folder.
        annotations: folder of the annotation files; relative to the root.
        media: folder of the media files, at any depth; relative to the root.
    """

    def __init__(self, dataset: str, root: str, annotations: str, media: str) -> None:
        self.dataset = dataset
        self._root = root
        self._annotations = annotations
        self._media = media

    @property
    def root(self) -> Path:
        """The dataset's folder.

        Raises:
            DataError: none was given, or there is no such folder.
        """
        if not self._root:
            raise DataError(f"{self.dataset}: option 'root' is empty; give the dataset's folder")
        root = Path(self._root).expanduser().absolute()
        if not root.is_dir():
            raise DataError(f"{self.dataset}: root {root}: no such folder")
        return root

    @property
    def media(self) -> Path:
        """The folder of the media files.

        Raises:
            DataError: there is no such folder.
        """
        media = self.root / self._media
        if not media.is_dir():
            raise DataError(f"{self.dataset}: media {media}: no such folder")
        return media

    def annotation(self, name: str) -> Path:
        """An annotation file by its name, whether or not it exists."""
        return self.root / self._annotations / name

    def present(self, names: Sequence[str]) -> list[Path]:
        """Those of some annotation files that exist."""
        return [path for path in map(self.annotation, names) if path.is_file()]

    def find(self, *ids: str) -> Path | None:
        """The media file of an id, or of the first of its variants that has one.

        An id is looked up, never made part of a path. A downloader's double extension
        (``id.mp4.mkv``) counts as one.
        """
        return next((self._index[id_] for id_ in ids if id_ in self._index), None)

    def media_or_missing(self, *ids: str) -> Path:
        """The media file of an id; where there is none, the path at which it was expected."""
        expected = checked_id(ids[0], self.dataset) + EXTENSIONS[0]
        return self.find(*ids) or self.media / expected

    @cached_property
    def speech(self) -> Mapping[str, str]:
        """Speech by clip id, from ``asr.json``; empty where there is none.

        Raises:
            DataError: the file is malformed.
        """
        path = self.root / ASR
        if not path.exists():
            return {}
        return {clip: text.string() for clip, text in open_json(path).fields()}

    def fingerprint(self, names: Sequence[str]) -> str:
        """A hash of annotation files (and sidecars) and of the list of media files and sizes.

        Raises:
            DataError: none of the annotation files exists.
        """
        paths = self.present(names)
        if not paths:
            folder = self.annotation("").as_posix().rstrip("/")
            raise DataError(
                f"{self.dataset}: no annotation file in {folder}; looked for {', '.join(names)}"
            )
        sidecars = [self.root / ASR, self.root / "evidence.json"]
        digest = hashlib.sha256()
        for path in [*paths, *(p for p in sidecars if p.is_file())]:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{path.name}\0{content}\0".encode())
        for file_id, path in sorted(self._index.items()):
            digest.update(f"{file_id}\0{path.suffix}\0{path.stat().st_size}\0".encode())
        return digest.hexdigest()[:32]

    @cached_property
    def _index(self) -> Mapping[str, Path]:
        """Media files by id: the name without its extensions; walked once."""
        found: dict[str, tuple[int, str]] = {}
        for folder, folders, names in os.walk(self.media):
            folders.sort()
            for name in sorted(names):
                stem, extension = os.path.splitext(name)
                if extension.lower() not in EXTENSIONS:
                    continue
                rank = (EXTENSIONS.index(extension.lower()), os.path.join(folder, name))
                while os.path.splitext(stem)[1].lower() in EXTENSIONS:
                    stem = os.path.splitext(stem)[0]
                if stem not in found or rank < found[stem]:
                    found[stem] = rank
        return {id_: Path(path) for id_, (_, path) in found.items()}
