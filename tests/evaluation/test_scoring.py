"""The stages score and baseline, over prepared splits that are made up here."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avbench.api import Clip, DataError, Metric, References, Score, Slot
from avbench.core.errors import PluginError
from avbench.core.job import Job
from avbench.core.registry import Component, NoOptions, Registry
from avbench.evaluation import baseline
from avbench.evaluation import score as evaluate
from avbench.evaluation.statistics import sufficient


@dataclass
class Split:
    clips: tuple[Clip, ...]
    protocol: str = "coco"
    paragraphs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def _clip(name: str, *captions: str, video: str = "", **more: Any) -> Clip:
    return Clip(id=name, video=video or name, media=Path("none"), captions=captions, **more)


class Words(Metric):
    """Mean number of words; fails, misbehaves or is counted on request."""

    calls: list[int]

    def __init__(self, name: str = "words", *, clip_by_clip: bool = False) -> None:
        self.name, self.clip_by_clip = name, clip_by_clip
        self.calls, self.seen, self.closed = [], [], False

    def score(
        self, hypotheses: Sequence[Mapping[str, str]], references: References
    ) -> Sequence[Sequence[Score]]:
        self.calls.append(len(hypotheses))
        self.seen.append((hypotheses, references))
        if any("crash" in text for system in hypotheses for text in system.values()):
            raise RuntimeError("metric crashed")
        return [self._one(system) for system in hypotheses]

    def _one(self, system: Mapping[str, str]) -> list[Score]:
        each = {i: float(len(text.split())) for i, text in system.items()}
        value = sum(each.values()) / len(each)
        if "nan" in system.values():
            value = float("nan")
        return [Score(name=self.name, value=value, unit="words", signature="w", per_item=each)]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes score jobs over made-up splits."""
    splits: dict[str, Split] = {}
    monkeypatch.setattr(evaluate.PreparedClips, "open", lambda path: splits[Path(path).name])

    def make(
        name: str, split: Split, lines: Any, metrics: Sequence[Metric], data: str = "data"
    ) -> Job:
        splits[data] = split
        folder, said = tmp_path / name, tmp_path / f"{name}-said"
        for made in (folder, said, tmp_path / data):
            made.mkdir(exist_ok=True)
        if isinstance(lines, Mapping):
            lines = [json.dumps({"id": i, "caption": text}) for i, text in lines.items()]
        (said / "predictions.jsonl").write_text("".join(f"{x}\n" for x in lines), "utf-8")
        registry = Registry()
        for i, metric in enumerate(metrics):
            registry.add(
                Component(
                    family="metrics",
                    name=f"m{i}",
                    build=lambda _options, metric=metric: metric,
                    config=NoOptions,
                    source="here",
                    module=__name__,
                    distribution="tests",
                )
            )
        job = Job(
            kind="score",
            id=name,
            spec={"metrics": [{"name": f"m{i}", "options": {}} for i in range(len(metrics))]},
            directory=folder,
            parents={"predictions": said, "data": tmp_path / data},
        )
        job.__dict__["_registry"] = registry
        return job

    return make


TWO = Split((_clip("x", "a dog", video="w"), _clip("y", "a cat", video="v")))


def test_run_scores_and_writes_per_clip(stage: Any) -> None:
    metric = Words()
    job = stage("job", TWO, {"y": "a black cat", "x": "dog, \n\u2028dog"}, [metric])
    result = evaluate.run(job)
    assert result == {
        "scores": [
            {
                "name": "words",
                "value": 2.5,
                "unit": "words",
                "signature": "w",
                "higher_is_better": True,
                "metric": {"name": "m0", "options": {}},
                "statistics": True,
            }
        ],
        "items": 2,
        "without_clip": 0,
    }
    json.dumps(result, allow_nan=False)
    text = (job.directory / "per_clip.csv").read_text("utf-8")
    assert text == "id,video,words\nx,w,2.0\ny,v,3.0\n"
    assert metric.closed
    ((system,), references) = metric.seen[0]
    assert list(system) == list(references.captions) == ["x", "y"]
    assert references.captions == {"x": ("a dog",), "y": ("a cat",)}
    kept = sufficient.read(job.directory)["words"]
    assert (kept.ids, kept.videos) == (("x", "y"), ("w", "v"))
    assert kept.values.tolist() == [[2.0, 1.0], [3.0, 1.0]]


class Odd(Words):
    """A figure that is no mean: the sum. Its statistics are what the test gives it."""

    statistics: Any = None

    def _one(self, system: Mapping[str, str]) -> list[Score]:
        (mean,) = super()._one(system)
        return [replace(mean, value=5.0, statistics=self.statistics)]

    def from_sums(self, name: str, sums: Any) -> Any:
        return sums.sum(1) if self.statistics is not None else super().from_sums(name, sums)


def test_statistics_are_kept_only_where_the_figure_comes_from_them(stage: Any) -> None:
    metric = Odd()
    job = stage("job", TWO, {"x": "a b", "y": "a b c"}, [metric])
    (score,) = evaluate.run(job)["scores"]
    assert (score["value"], score["statistics"]) == (5.0, False)
    assert sufficient.read(job.directory) == {}
    metric.statistics = np.array([[2.0, 0.0], [2.0, 1.0]])
    (score,) = evaluate.run(job)["scores"]
    assert score["statistics"]
    assert sufficient.read(job.directory)["words"].values.tolist() == [[2.0, 0.0], [2.0, 1.0]]


def test_statistics_that_are_missing_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"statistics\.npz: no such file; score again"):
        sufficient.read(tmp_path)
    (tmp_path / "statistics.npz").write_bytes(b"PK none")
    with pytest.raises(DataError, match=r"statistics\.npz: cannot be read"):
        sufficient.read(tmp_path)


def test_jobs_with_the_same_references_are_scored_together(stage: Any) -> None:
    metric = Words()
    other = Split((_clip("z", "rain"),))
    jobs = [
        stage("one", TWO, {"x": "a", "y": "a"}, [metric]),
        stage("two", other, {"z": "a a a a"}, [metric], data="other"),
        stage("three", TWO, {"x": "a a", "y": "a a"}, [metric]),
    ]
    results = evaluate.run_many(jobs)
    assert [r["scores"][0]["value"] for r in results] == [1.0, 4.0, 2.0]
    assert sorted(metric.calls) == [1, 2]


def test_a_failing_job_leaves_the_others_alone(stage: Any) -> None:
    metric = Words()
    jobs = [
        stage("missing", TWO, {"x": "a"}, [metric]),
        stage("good", TWO, {"x": "a", "y": "a"}, [metric]),
        stage("crash", TWO, {"x": "crash", "y": "a"}, [metric]),
        stage("nan", TWO, {"x": "nan", "y": "a"}, [metric]),
    ]
    missing, good, crash, nan = evaluate.run_many(jobs)
    assert isinstance(missing, DataError)
    assert good["scores"][0]["value"] == 1.0
    assert str(crash) == "metric crashed"
    assert isinstance(nan, PluginError)
    assert str(nan) == "metric 'm0': score 'words' is nan"
    assert (jobs[1].directory / "per_clip.csv").exists()
    assert not (jobs[2].directory / "per_clip.csv").exists()
    with pytest.raises(RuntimeError, match="metric crashed"):
        evaluate.run(jobs[2])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"id": "x", "caption": "a"}'], "1 clips have no caption, the first 'y'"),
        (['{"id": "q", "caption": "a"}'], ":1: id 'q' is no clip of the split"),
        (['{"id": "x", "caption": "a"}'] * 2, ":2: id 'x' is there twice"),
        (["", '{"id": "x"}'], ':2: expected {"id": …, "caption": …}, got \'{"id": "x"}\''),
        (["[1]"], ":1: expected"),
        (["{"], ":1: expected"),
        (['{"id": "x", "caption": null}'], ":1: id and caption must be texts"),
    ],
)
def test_bad_predictions_name_the_first(stage: Any, lines: list[str], message: str) -> None:
    job = stage("job", TWO, lines, [Words()])
    with pytest.raises(DataError) as caught:
        evaluate.run(job)
    assert str(job.parents["predictions"] / "predictions.jsonl") in str(caught.value)
    assert message in str(caught.value)


def test_two_metrics_may_not_give_the_same_score(stage: Any) -> None:
    job = stage("job", TWO, {"x": "a", "y": "a"}, [Words(), Words()])
    with pytest.raises(PluginError, match="two metrics of this job give the score 'words'"):
        evaluate.run(job)


PARAGRAPHS = Split(
    (
        _clip("w2", "b", video="w", start=5.0, end=9.0),
        _clip("v1", "c", video="v", start=0.0, end=2.0),
        _clip("w1", "a", video="w", start=1.0, end=9.0),
        _clip("w0", "a", video="w", start=1.0, end=3.0),
    ),
    protocol="paragraph",
    paragraphs={"v": ("c d.",), "w": ("a b.", "e f"), "lost": ("never prepared",)},
)


def test_paragraphs_join_the_clips_of_a_video_in_time(stage: Any) -> None:
    whole, single = Words(), Words("single", clip_by_clip=True)
    said = {"w2": "last", "w1": "second", "w0": "first", "v1": "alone"}
    job = stage("job", PARAGRAPHS, said, [whole, single])
    result = evaluate.run(job)
    ((system,), references) = whole.seen[0]
    assert system == {"lost": "", "v": "alone", "w": "first. second. last"}
    assert references.protocol == "paragraph"
    assert references.captions == PARAGRAPHS.paragraphs
    assert result["without_clip"] == 1
    ((system,), references) = single.seen[0]
    assert system == said
    assert references.protocol == "coco"
    assert {s["name"]: s["value"] for s in result["scores"]} == {"words": 4 / 3, "single": 1.0}
    with (job.directory / "per_clip.csv").open(encoding="utf-8") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert rows["w"] == {"id": "w", "video": "w", "words": "3.0", "single": ""}
    assert rows["lost"] == {"id": "lost", "video": "lost", "words": "0.0", "single": ""}
    kept = sufficient.read(job.directory)
    assert kept["words"].ids == ("lost", "v", "w")
    assert kept["single"].ids == ("w2", "v1", "w1", "w0")
    assert kept["single"].videos == ("w", "v", "w", "w")
    assert rows["w1"] == {"id": "w1", "video": "w", "words": "", "single": "1.0"}


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (Split(TWO.clips, protocol="paragraph"), "video 'v' has no paragraph reference"),
        (Split(TWO.clips, protocol="other"), "protocol must be coco or paragraph, got 'other'"),
    ],
)
def test_bad_protocols(stage: Any, split: Split, message: str) -> None:
    with pytest.raises(DataError, match=message):
        evaluate.run(stage("job", split, {"x": "a", "y": "a"}, [Words()]))


def test_slots_reach_the_metric(stage: Any) -> None:
    slot = Slot(value="red", choices=("red", "blue"), evidence=frozenset({"video"}))
    split = Split((_clip("x", "a", slots={"colour": slot}), _clip("y", "b")))
    metric = Words()
    evaluate.run(stage("job", split, {"x": "a", "y": "b"}, [metric]))
    assert metric.seen[0][1].slots == {"x": {"colour": slot}}


@pytest.mark.java
@pytest.mark.usefixtures("warm_meteor")
def test_the_registered_caption_metric(stage: Any) -> None:
    job = stage("job", TWO, {"x": "a dog", "y": "a cat"}, [])
    del job.__dict__["_registry"]
    job.spec["metrics"].append({"name": "coco_caption", "options": {}})
    scores = {s["name"]: s["value"] for s in evaluate.run(job)["scores"]}
    assert list(scores) == ["bleu4", "meteor", "rougeL", "cider"]
    assert scores["meteor"] == pytest.approx(100)


def test_baseline_gives_the_most_frequent_caption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = Split((_clip("1", "b", "a é\u2028"), _clip("2", "b"), _clip("3", "a é\u2028", "c")))
    splits = {"train": train, "data": TWO}
    monkeypatch.setattr(baseline.PreparedClips, "open", lambda path: splits[path.name])
    job = Job(
        kind="baseline",
        id="1",
        spec={},
        directory=tmp_path,
        parents={name: Path(name) for name in splits},
    )
    assert baseline.run(job) == {"clips": 2, "caption": "a é\u2028", "times": 2, "of": 5}
    read = evaluate.read_predictions(tmp_path / "predictions.jsonl", TWO.clips)
    assert read == {"x": "a é\u2028", "y": "a é\u2028"}
    splits["train"] = Split((_clip("1"),))
    with pytest.raises(DataError, match="the training split has no captions"):
        baseline.run(job)
