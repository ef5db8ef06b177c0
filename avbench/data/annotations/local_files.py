"""Local files of a dataset: its annotations, and its media by id."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from avbench.core.digest import file_digest
from avbench.core.errors import DataError
from avbench.data.annotations.strict_json import Node, checked_id, open_json
from avbench.data.annotations.subtitles import speech_files

EXTENSIONS = (
    ".mp4", ".mkv", ".webm", ".mov", ".m4v", ".avi",
    ".flv", ".wmv", ".mpg", ".mpeg", ".ts", ".3gp", ".ogv",
)  # fmt: skip
"""Containers of media, in order of preference for an id with several files."""

SOUNDS = (".wav", ".flac", ".ogg", ".opus", ".m4a", ".mp3", ".aac")
"""Containers of sound alone, for sets without pictures."""

IMAGES = (".jpg", ".jpeg", ".png")
"""Still pictures, for sets without motion and sound."""

ASR, EVIDENCE = "asr.json", "evidence.json"
"""Optional files in the root: ``{clip id: text}`` with the speech of each clip (avbench's
convention), and the known facts of each (see ``slots``)."""

TITLED = re.compile(r".*(?: \[([\w-]{11})\]|-([\w-]{11}))")
"""Default file name of downloaders: the video's title, then its YouTube id."""


class LocalFiles:
    """The files of one dataset; each is read on demand.

    Args:
        dataset: the reader's name, for errors.
        root: the dataset's folder.
        annotations: folder of the annotation files, relative to the root.
        media: folder of the media files, at any depth, relative to the root.
        extensions: extensions of media files, in order of preference.
        captions_alone: the media folder may be missing, because captions alone are useful.
    """

    def __init__(
        self,
        dataset: str,
        root: str,
        annotations: str,
        media: str,
        *,
        extensions: Sequence[str] = EXTENSIONS,
        captions_alone: bool = False,
    ) -> None:
        self.dataset = dataset
        self._root = root
        self._annotations = annotations
        self._media = media
        self._extensions = tuple(extensions)
        self._captions_alone = captions_alone

    @property
    def root(self) -> Path:
        """The dataset's folder.

        Raises:
            DataError: the option is empty, or there is no such folder.
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
        if not media.is_dir() and not self._captions_alone:
            raise DataError(f"{self.dataset}: media {media}: no such folder")
        return media

    def annotation(self, name: str) -> Path:
        """Return the path of an annotation file, which need not exist."""
        return self.root / self._annotations / name

    def existing(self, names: Sequence[str]) -> list[Path]:
        """Return those annotation files (or folders of them) that exist."""
        return [path for path in map(self.annotation, names) if path.exists()]

    def existing_files(self, names: Sequence[str]) -> list[Path]:
        """Return the annotation files that exist, a folder's one by one, and the sidecars."""
        files: list[Path] = []
        for path in self.existing(names):
            files += chain(*speech_files(path).values()) if path.is_dir() else [path]
        return [*files, *(p for p in (self.root / ASR, self.root / EVIDENCE) if p.is_file())]

    def find(self, *ids: str) -> Path | None:
        """Return the media file of the first of some ids that has one, else None.

        Ids are looked up, never made part of a path. If no file is named by the id alone, a title
        before the id is allowed (``Title [id].mp4``, ``Title-id.mp4``).
        """
        return next((Path(self._index[id_]) for id_ in ids if id_ in self._index), None)

    def without_extension(self, name: str) -> str:
        """Return a file's name without the extensions of media; ``Storm 2.1`` stays whole.

        A downloader's double extension (``id.mp4.mkv``) counts as one.
        """
        return _stem(name, self._extensions)

    def media_or_missing(self, *ids: str) -> Path:
        """Return the media file of an id, or the path at which it was expected."""
        expected = checked_id(ids[0], self.dataset) + self._extensions[0]
        return self.find(*ids) or self.media / expected

    def speech(self, clip: str) -> str | None:
        """Return the speech of a clip from ``asr.json``; None if that file has none.

        Raises:
            MalformedError: the clip's speech is no text: this costs the clip.
            DataError: the file is malformed.
        """
        found = self._speech.get(clip)
        return None if found is None else found.string()

    @cached_property
    def _speech(self) -> Mapping[str, Node]:
        path = self.root / ASR
        return dict(open_json(path).fields()) if path.exists() else {}

    def fingerprint(self, names: Sequence[str]) -> str:
        """Return a hash of the annotation files and sidecars, and of the media's list and sizes.

        Raises:
            DataError: none of the annotation files exists.
        """
        if not self.existing(names):
            folder = self.annotation("").as_posix().rstrip("/")
            raise DataError(
                f"{self.dataset}: no annotation file in {folder}; looked for {', '.join(names)}"
            )
        digest = hashlib.sha256()
        for path in self.existing_files(names):
            digest.update(os.fsencode(f"{path.name}\0{file_digest(path)}\0"))
        for file_id, name in sorted(self._index.items()):
            extension = os.path.splitext(name)[1]
            size = os.stat(name).st_size if os.path.exists(name) else "a dangling link"
            digest.update(os.fsencode(f"{file_id}\0{extension}\0{size}\0"))
        return digest.hexdigest()[:32]

    @cached_property
    def _index(self) -> Mapping[str, str]:
        """Media files by id, the name without its extensions."""
        found: dict[str, MediaFile] = {}
        titled: dict[str, MediaFile] = {}
        for file in _walk(self.media, self._extensions, accepted=True):
            _keep(found, file.stem, file)
            if file.id is not None:
                _keep(titled, file.id, file)
        return {id_: file.path for id_, file in ({**titled, **found}).items()}


class MediaFile(NamedTuple):
    """A file of a media folder; the smaller is preferred."""

    rank: int
    """Place of its extension among those accepted."""
    path: str
    stem: str
    """Its name without extensions."""
    id: str | None
    """The id after a title."""


def _keep(files: dict[str, MediaFile], id_: str, file: MediaFile) -> None:
    """Keep the better of an id's files: one that is there, before a link to one that is not."""
    if id_ in files:
        file = min(file, files[id_], key=lambda f: (not os.path.exists(f.path), f))
    files[id_] = file


def _walk(media: Path, extensions: Sequence[str], *, accepted: bool) -> Iterator[MediaFile]:
    """Yield the files of a media folder whose extensions are accepted, or the others.

    A file whose path is not in UTF-8 is one of the others.
    """
    order = {extension: i for i, extension in enumerate(extensions)}
    for folder, folders, names in os.walk(media):
        folders.sort()
        for name in sorted(names):
            stem, extension = os.path.splitext(name)
            path = os.path.join(folder, name)
            if (extension.lower() in order and _is_utf8(path)) != accepted:
                continue
            rank = order.get(extension.lower(), 0)
            stem = _stem(stem, extensions)
            match = TITLED.fullmatch(stem)
            id_ = None if match is None else match[1] or match[2]
            yield MediaFile(rank, path, stem, id_)


def _stem(name: str, extensions: Sequence[str]) -> str:
    """Return a file's name without the extensions at its end."""
    stem, extension = os.path.splitext(name)
    while extension.lower() in extensions:
        name = stem
        stem, extension = os.path.splitext(name)
    return name


def _is_utf8(path: str) -> bool:
    """Return True if a path can be written down in a text file."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(path: str) -> str:
    """Return a path for messages, with bytes that are not UTF-8 as escapes."""
    return os.fsencode(path).decode(errors="backslashreplace")


def missing_hint(path: Path) -> str:
    """Return what there is in place of a missing media file, for an error; empty: nothing.

    Args:
        path: the file, as a reader expected it, see ``LocalFiles.media_or_missing``.
    """
    if path.is_symlink():
        return f"; it is a link to {_shown(os.readlink(path))}, which is not there"
    for extensions in (EXTENSIONS, SOUNDS, IMAGES):
        if path.suffix == extensions[0] and path.parent.is_dir():
            others = _others(path.parent, path.parent.stat().st_mtime_ns, extensions)
            other = others.get(path.stem)
            if other is not None and not _is_utf8(other):
                return f"; found {_shown(other)}, whose name is not in UTF-8: rename it"
            if other is not None:
                return f"; found {other}; accepted: {', '.join(extensions)}"
    return ""


@lru_cache(maxsize=8)
def _others(media: Path, changed: int, extensions: Sequence[str]) -> Mapping[str, str]:  # noqa: ARG001
    """Return the files of a media folder with another extension, by id."""
    found: dict[str, str] = {}
    for file in _walk(media, extensions, accepted=False):
        name = os.path.relpath(file.path, media)
        found.setdefault(file.stem, name)
        if file.id is not None:
            found.setdefault(file.id, name)
    return found
