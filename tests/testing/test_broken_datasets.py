"""Dataset readers and metrics with one fault each fail the check that names it, and no other."""

import hashlib
import json
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from avbench.api import Clip, DataError, Dataset, Defect, Metric, References, Score
from avbench.builtin.datasets import msrvtt, youcook2
from avbench.core.registry import load
from avbench.testing import check
from avbench.testing.mirror import mirror
from tests.testing.subject import Fault, failures


class Draft(Dataset):
    """Lines of JSON with a clip each, and a file of media for each.

    Source: this test.
    """

    report = "test"

    def __init__(self, options: Fault) -> None:
        self.fault, self.root = options.fault, Path(options.root or "nowhere")

    def splits(self) -> tuple[str, ...]:
        return ("train", "test")

    def _lines(self, split: str) -> list[dict[str, Any]]:
        path = self.root / f"{split}.jsonl"
        if split not in self.splits() or not path.is_file():
            raise DataError(f"{path}: no such file")
        return [json.loads(line) for line in path.read_text().splitlines()]

    def _read(self, split: str) -> list[Clip]:
        fault, made = self.fault, []
        for line in self._lines(split):
            name = line["id"]
            media = self.root / "media" / f"{name}.mp4"
            id_ = {"a path in its ids": str(media), "one id for all": "clip"}.get(fault, name)
            clip = Clip(
                id=id_,
                video=name,
                media={
                    "media of the author's machine": Path("/data") / media.name,
                    "relative media": Path("media") / media.name,
                }.get(fault, media),
                captions={"no captions": (), "blank captions": (line["text"], " ")}.get(
                    fault, (line["text"],)
                ),
                start=5.0 if fault == "times in reverse" else None,
                end=1.0 if fault == "times in reverse" else None,
            )
            made.append(clip)
        if fault == "an order of its own each time":
            random.Random().shuffle(made)
        if fault == "a shuffled order":
            random.shuffle(made)
        if fault == "the folder's order":
            names = [Path(n).stem for n in os.listdir(self.root / "media")]
            made.sort(key=lambda clip: names.index(clip.id))
        if fault == "clips twice":
            made += made[:2]
        if fault == "one clip in both splits" and split == "test":
            made.append(Draft(Fault(root=str(self.root)))._read("train")[0])
        if fault == "one clip in both splits, renamed" and split == "test":
            other = Draft(Fault(root=str(self.root)))._read("train")[0]
            made.append(
                Clip(id="t", video=other.video, media=other.media, captions=other.captions)
            )
        return made

    def clips(self, split: str) -> Sequence[Clip]:
        fault = self.fault
        if fault == "any split":
            return tuple(self._read(split if split in self.splits() else "train"))
        found = self._read(split)
        if fault == "an iterator":
            return iter(found)  # type: ignore[return-value]
        if fault == "a length that lies":
            return Lying(found)
        if fault == "its own list":
            return self.__dict__.setdefault(split, found)
        if fault == "the rest of a reading":
            return Once(found)
        return found[:-1] if fault == "fewer by clips" else found

    def iterate(self, split: str) -> Iterator[Clip | Defect]:
        if self.fault == "one reading for all":
            shared = self.__dict__.setdefault(f"{split} ", [])
            shared[:] = self._read(split)
            while shared:
                yield shared.pop(0)
            return
        if self.fault == "its own list":
            yield from self.clips(split)
            return
        yield from self._read(split)
        if self.fault == "defects of iterate alone":
            yield Defect(place="here", problem="lost", clip="c")

    def files(self) -> Sequence[Path]:
        names = ("train",) if self.fault == "one file of two" else self.splits()
        return [self.root / f"{name}.jsonl" for name in names]

    def fingerprint(self) -> str:
        fault, digest = self.fault, hashlib.sha256()
        if fault == "a constant fingerprint":
            return "v1"
        if fault == "a fingerprint by chance":
            return str(random.random())
        media = [self.root / "media" / name for name in os.listdir(self.root / "media")]
        listed = media if fault == "a fingerprint of the folder's order" else sorted(media)
        for path in [*self.files(), *([] if fault == "a fingerprint without media" else listed)]:
            stat = path.stat()
            by = {
                "a fingerprint of sizes": str(stat.st_size),
                "a fingerprint of dates": f"{stat.st_mtime_ns}",
                "a fingerprint of paths": f"{path}",
            }.get(fault, "")
            held = "" if fault == "a fingerprint of sizes" else path.read_text()
            digest.update(f"{path.name}{by}{held}".encode())
        return digest.hexdigest()


class Lying(tuple):
    """A tuple that says it has one clip more."""

    def __len__(self) -> int:
        return super().__len__() + 1


class Once(list):
    """A list that is empty once it has been read."""

    def __iter__(self) -> Iterator[Any]:
        while len(self):
            yield self.pop(0)


DATASET_FAULTS = {
    "an iterator": ("sequence", "split 'train': a list_iterator, which is no sequence"),
    "a length that lies": ("sequence", "len() gives 7, reading gives 6 clips"),
    "its own list": ("sequence", "clips() returns its own list, which a caller has emptied"),
    "the rest of a reading": ("sequence", "len() gives 0, reading gives 6 clips"),
    "a shuffled order": ("order", "instead of 'train"),
    "an order of its own each time": ("order", "instead of 'train"),
    "the folder's order": ("order", "read anew with folders in another order: clip 0 is"),
    "fewer by clips": ("order", "6 clips instead of 5"),
    "clips twice": ("ids", "'train0' twice (clips 0 and 6); 2 repeated"),
    "one id for all": ("ids", "'clip' twice (clips 0 and 1); 5 repeated"),
    "no captions": ("captions", "split 'train': clip 'train0': no caption"),
    "blank captions": ("captions", "clip 'train0': caption 1 of 2 is empty"),
    "times in reverse": ("times", "clip 'train0': from 5 to 1.0 s"),
    "one clip in both splits": ("apart", "1 clips in both 'train' and 'test', e.g. 'train0'"),
    "one clip in both splits, renamed": ("apart", "1 clips in both 'train' and 'test', e.g. 't'"),
    "one reading for all": ("iterate", "two iterations at once differ at item 1"),
    "defects of iterate alone": ("iterate", "1 defects from iterate(), 0 from defects()"),
    "any split": ("unknown", "clips of a split that does not exist"),
    "media of the author's machine": ("media", "/data/train0.mp4 is not below"),
    "relative media": ("media", "'media/train0.mp4' depends on the working directory"),
    "a path in its ids": ("moved", "one/media/train0.mp4' becomes"),
    "a fingerprint of dates": ("moved", "' becomes '"),
    "a fingerprint of paths": ("moved", "' becomes '"),
    "a fingerprint by chance": ("fingerprint", "' and '0."),
    "a fingerprint of the folder's order": ("fingerprint", "' and '"),
    "a constant fingerprint": ("contents", "the fingerprint stays 'v1' if 'caption' in"),
    "a fingerprint of sizes": ("contents", "in train.jsonl becomes 'captiox'"),
    "a fingerprint without media": ("contents", "without media/test0.mp4"),
    "one file of two": ("contents", "test.jsonl"),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    (folder / "media").mkdir()
    for split in ("train", "test"):
        names = [f"{split}{i}" for i in range(6)]
        lines = [json.dumps({"id": name, "text": f"caption of {name}"}) for name in names]
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
        for name in names:
            (folder / "media" / f"{name}.mp4").write_text(name)
    return folder


def test_a_reader_without_a_fault_passes(root: Path) -> None:
    assert failures("datasets", Draft, "", root=str(root)) == {}


@pytest.mark.parametrize("fault", DATASET_FAULTS)
def test_a_broken_reader_fails_the_check_that_names_its_fault(root: Path, fault: str) -> None:
    name, said = DATASET_FAULTS[fault]
    found = failures("datasets", Draft, fault, root=str(root))
    assert set(found) == {name}, found
    assert said in found[name].got


def test_checks_leave_the_dataset_as_it_is(root: Path) -> None:
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in root.rglob("*") if p.is_file()}
    failures("datasets", Draft, "a constant fingerprint", root=str(root))
    after = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in root.rglob("*") if p.is_file()}
    assert after == before


def test_media_behind_a_linked_folder_are_never_touched(root: Path, tmp_path: Path) -> None:
    (tmp_path / "media").symlink_to(root / "media")
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_bytes((root / f"{split}.jsonl").read_bytes())
    copies = mirror(tmp_path, tmp_path.parent / "copy")
    assert copies is not None
    assert sorted(path.name for path in copies) == ["test.jsonl", "train.jsonl"]
    assert failures("datasets", Draft, "", root=str(tmp_path)) == {}
    assert len(list((root / "media").iterdir())) == 12


def test_first_party_readers_keep_the_contract_of_clips(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    segments = [{"segment": [i, i + 1], "id": i, "sentence": f"step number {i}"} for i in range(3)]
    segments.append({"segment": [2, 2], "id": 3, "sentence": "lost"})
    entries = {
        f"{letter * 11}": {"subset": subset, "annotations": segments}
        for letter, subset in (("a", "training"), ("b", "validation"))
    }
    name = "youcookii_annotations_trainval.json"
    (tmp_path / name).write_text(json.dumps({"database": entries}))
    info = {
        "videos": [{"video_id": f"video{i}", "split": s} for i, s in enumerate(msrvtt.SPLITS)],
        "sentences": [{"video_id": f"video{i}", "caption": f"film {i}"} for i in range(3)],
    }
    (tmp_path / "MSRVTT_data.json").write_text(json.dumps(info))
    for video in ("aaaaaaaaaaa", "bbbbbbbbbbb", "video0", "video1", "video2"):
        (tmp_path / "videos" / f"{video}.mp4").write_text(video)
    registry = load()
    for reader in (youcook2, msrvtt):
        component = registry.get("datasets", reader.__name__.rpartition(".")[2])
        found = check(component, component.config(root=str(tmp_path)))
        assert [f for f in found if not f.ok] == []
        assert {"order", "apart", "moved", "contents"} < {f.check for f in found}


class Overlap(Metric):
    """Share of a reference's words that a hypothesis has.

    Source: this test.
    """

    def __init__(self, options: Fault) -> None:
        self.fault, self.calls = options.fault, 0

    def score(
        self, hypotheses: Sequence[Mapping[str, str]], references: References
    ) -> Sequence[Sequence[Score]]:
        self.calls += 1
        scores = []
        for system in hypotheses:
            items = {}
            for id_, captions in references.captions.items():
                words, wanted = set(system[id_].split()), set(captions[0].split())
                items[id_] = 100 * len(words & wanted) / len(wanted)
            value = sum(items.values()) / len(items)
            if self.fault == "changes the hypotheses":
                system["one"] = ""  # type: ignore[index]
            if self.fault == "changes the references":
                references.captions.pop("one", None)  # type: ignore[attr-defined]
            if self.fault == "averages over its calls":
                value += self.calls
            if self.fault == "samples":
                value += random.random()
            if self.fault == "no number for a clip":
                items["one"] = float("nan")
            scores.append(
                [Score(name="overlap", value=value, unit="%", signature="o|v:1", per_item=items)]
            )
        return scores


@pytest.mark.parametrize(
    ("fault", "name", "said"),
    [
        ("changes the hypotheses", "unchanged", "a call changes the hypotheses"),
        ("averages over its calls", "repeated", "call 2: overlap: 104.0 and overlap: 103.0"),
        ("changes the references", "unchanged", "a call changes the references"),
        ("samples", "repeated", "call 2: overlap: "),
        ("no number for a clip", "finite", "not finite: overlap of 'one'"),
    ],
)
def test_a_broken_metric_fails_the_check_that_names_its_fault(
    fault: str, name: str, said: str
) -> None:
    assert failures("metrics", Overlap, "") == {}
    found = failures("metrics", Overlap, fault)
    assert set(found) == {name}, found
    assert said in found[name].got
