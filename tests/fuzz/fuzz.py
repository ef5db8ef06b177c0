"""The coverage-guided fuzzer over the table of parsers: ``make fuzz SECONDS=600``.

``python -m tests.fuzz.fuzz --seconds 600`` mutates files by ``mutations`` and keeps those that
reach new code in ``.fuzz/corpus``. A file that breaks a parser's promise lies in ``.fuzz/found``,
one for each place that failed; ``python -m tests.fuzz.fuzz FILE`` shows it again. The first line
of a file of either folder names its parser.
"""

import argparse
import hashlib
import random
import subprocess
import sys
import time
import traceback
from pathlib import Path

FOLDER = Path(".fuzz")
CORPUS, FOUND = FOLDER / "corpus", FOLDER / "found"

SECONDS_A_FILE = 20
"""After this, libFuzzer ends the process: a reader hangs."""

MEGABYTES = 4096
"""Memory at which libFuzzer ends the process."""


def main() -> int:
    """Run the fuzzer, or read one file again; return the exit status."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("file", nargs="?", type=Path, help="a file to read again")
    asked.add_argument("--seconds", type=int, default=600)
    asked.add_argument("--only", default="", help="parsers to try, separated by commas")
    asked.add_argument("--inner", action="store_true", help=argparse.SUPPRESS)
    given = asked.parse_args()
    only = [name for name in given.only.split(",") if name]
    if given.file is not None:
        return again(given.file)
    if given.inner:
        fuzz(given.seconds, only)
    return watch(given.seconds, given.only)


def watch(seconds: int, only: str) -> int:
    """Run the fuzzer in a process of its own until the time is over, and list what it found."""
    for folder in (CORPUS, FOUND):
        folder.mkdir(parents=True, exist_ok=True)
    before = {path: path.stat().st_mtime_ns for path in FOUND.iterdir()}
    ends = time.monotonic() + seconds
    while (left := round(ends - time.monotonic())) > 0:
        words = [sys.executable, "-m", "tests.fuzz.fuzz", "--inner", f"--seconds={left}"]
        # A process that dies, of a hang or of memory, has left its file; the next one goes on.
        if subprocess.run([*words, f"--only={only}"], check=False).returncode == 0:
            break
    made = sorted(p for p in FOUND.iterdir() if before.get(p) != p.stat().st_mtime_ns)
    print(f"\n{len(made)} places break the promise of a parser" + ":" * bool(made))
    for path in made:
        print(f"  python -m tests.fuzz.fuzz {path}")
    return 1 if made else 0


def fuzz(seconds: int, only: list[str]) -> None:
    """Mutate files until the time is over; this ends the process."""
    import atheris

    with atheris.instrument_imports(include=["avbench"]):
        from tests.fuzz.mutations import mutated
        from tests.fuzz.parsers import PARSERS, registry

        registry()
    names = only or list(PARSERS)
    for name in names:
        for contents in PARSERS[name].seeds:
            _keep(CORPUS, name, contents)

    def one(data: bytes) -> None:
        name, contents = _split(data)
        if name not in names:
            return
        try:
            PARSERS[name].examine(contents)
        except Exception as error:
            _report(name, contents, error)

    def mutate(data: bytes, largest: int, seed: int) -> bytes:
        rng = random.Random(seed)
        name, contents = _split(data)
        if name not in names or rng.random() < 0.05:  # another parser, with a seed of its own
            name = rng.choice(names)
            contents = rng.choice(PARSERS[name].seeds)
        if rng.random() < 0.1:
            contents = atheris.Mutate(contents, max(1, largest - len(name) - 1))
        else:
            contents = mutated(contents, rng)
        made = _join(name, contents)
        return made if len(made) <= largest else data

    options = (
        *(f"-max_total_time={seconds}", "-max_len=100000", f"-timeout={SECONDS_A_FILE}"),
        *(f"-rss_limit_mb={MEGABYTES}", f"-artifact_prefix={FOUND}/", "-print_final_stats=1"),
    )
    atheris.Setup([sys.argv[0], *options, str(CORPUS)], one, custom_mutator=mutate)
    atheris.Fuzz()


def again(path: Path) -> int:
    """Read a file as its parser does, and show the value or the failure."""
    from tests.fuzz.parsers import PARSERS

    name, contents = _split(path.read_bytes())
    print(f"parser '{name}', {len(contents)} bytes")
    try:
        print(repr(PARSERS[name].examine(contents))[:2000])
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def _split(data: bytes) -> tuple[str, bytes]:
    """Return the name of the parser and the contents of the file that it reads."""
    head, _, contents = data.partition(b"\n")
    return head.decode("utf-8", "replace"), contents


def _join(name: str, contents: bytes) -> bytes:
    return name.encode() + b"\n" + contents


def _keep(folder: Path, name: str, contents: bytes) -> None:
    path = folder / hashlib.sha1(_join(name, contents)).hexdigest()
    path.write_bytes(_join(name, contents))


def _report(name: str, contents: bytes, error: Exception) -> None:
    """Keep the smallest file for each place that failed."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
    key = hashlib.sha1(f"{name} {where}".encode()).hexdigest()[:8]
    path = FOUND / f"{name.replace(' ', '-')}-{key}"
    if not path.exists():
        print(f"\n{name}: {where}: {str(error)[:300]}\n  {path}", flush=True)
    if not path.exists() or path.stat().st_size > len(_join(name, contents)):
        path.write_bytes(_join(name, contents))


if __name__ == "__main__":
    sys.exit(main())
