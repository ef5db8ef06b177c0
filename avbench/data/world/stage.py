"""The stage that generates the embedded world.

Deterministic: annotations depend on the settings alone, media also on the versions of PyAV,
numpy and espeak-ng; the number of workers and interruptions change nothing.
"""

import multiprocessing
import multiprocessing.connection
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from avbench.core.errors import UnknownNameError, unknown
from avbench.core.job import Job
from avbench.core.options import build
from avbench.data.settings import WorldSettings
from avbench.data.text.counts import audio_relevance, speech_coverage
from avbench.data.world import activitynet, howto100m, msrvtt, vatex, youcook2
from avbench.data.world.corpus import Corpus
from avbench.data.world.film import Film, write
from avbench.data.world.render import SECONDS
from avbench.data.world.word_counts import shipped_counts

FORMS = {form.KEY: form for form in (howto100m, youcook2, msrvtt, vatex, activitynet)}
"""Dataset key to the module that plans the set in that format."""
MEDIA = "videos"
"""The folder of the media beside the annotations."""
_CHUNK = 4  # films handed to a worker at a time
_TOLD = 0.5  # seconds between two reports of progress


def run(job: Job) -> dict[str, Any]:
    """Generate the sets that the settings ask for into ``data/<key>/``.

    Films that are already there, whole, are kept: an interrupted generation goes on.

    Raises:
        UnknownNameError: the settings name a set that is none of the world's.
    """
    settings = build(WorldSettings, dict(job.spec), where=job.kind)
    corpora = {key: FORMS[key].make(settings) for key in keys(settings)}
    root = job.directory / "data"
    todo = []
    for key, corpus in corpora.items():
        folder = root / key / MEDIA
        folder.mkdir(parents=True, exist_ok=True)
        for part in folder.glob(".*.part"):  # of a run that was killed
            part.unlink()
        todo += [(film, folder) for film in corpus.films]
    told = 0.0
    films = _films(todo, settings, int(job.local.get("workers", 2)))
    for done, _ in enumerate(films, start=1):
        if done == len(todo) or time.monotonic() > told + _TOLD:
            job.progress(done, len(todo), "films")
            told = time.monotonic()
    for key, corpus in corpora.items():
        for name, text in corpus.files().items():
            (root / key / name).write_text(text, encoding="utf-8")
    return {"sets": {key: _summary(corpus, root / key) for key, corpus in corpora.items()}}


def keys(settings: WorldSettings) -> tuple[str, ...]:
    """The sets to generate, in the world's order.

    Raises:
        UnknownNameError: a set that is none of the world's.
    """
    for key in settings.datasets:
        if key not in FORMS:
            raise UnknownNameError(f"world.datasets: {unknown('dataset', key, FORMS)}")
    return tuple(key for key in FORMS if not settings.datasets or key in settings.datasets)


def _films(
    todo: Sequence[tuple[Film, Path]], settings: WorldSettings, workers: int
) -> Iterator[Path]:
    """Write films, in as many processes as asked for; yields each path when it is written."""
    one = partial(_write, settings=settings)
    if workers <= 1 or len(todo) <= _CHUNK:
        yield from map(one, todo)
        return
    # fresh processes, not forked ones: those would inherit the threads of torch in a bad state
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent) as pool:
        yield from pool.map(one, todo, chunksize=_CHUNK)


def _write(task: tuple[Film, Path], *, settings: WorldSettings) -> Path:
    film, folder = task
    return write(film, folder, settings)


def _end_with_parent() -> None:
    """In a worker: end when the stage's process is gone, even if it was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "only workers have a parent"

    def wait() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _summary(corpus: Corpus, folder: Path) -> Mapping[str, Any]:
    """Counts, sizes and the relevance of sound and speech to the captions of one set."""
    splits: dict[str, int] = {}
    for entry in corpus.entries:
        splits[entry.split] = splits.get(entry.split, 0) + 1
    captions = [(caption, e.words or "") for e in corpus.entries for caption in e.captions]
    return {
        "videos": len(corpus.films),
        "clips": splits,
        "captions": len(captions),
        "seconds": round(SECONDS * sum(len(film.scenes) for film in corpus.films), 1),
        "bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        "scr_percent": speech_coverage(captions),
        "ars": audio_relevance((caption for caption, _ in captions), shipped_counts()),
    }
