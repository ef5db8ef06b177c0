"""Whatever avbench writes it reads back as it was."""

import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avbench.config import strict_yaml
from avbench.core.job import JOB, Job, read_job, read_json, write_json
from avbench.core.options import plain
from avbench.core.types import Clip, Slot
from avbench.core.visible import as_cell, of_cell
from avbench.data.prepared.clips import clip_from_json, clip_to_json
from avbench.data.prepared.lost import LOST, LostClip, read_lost
from avbench.evaluation.caption_files import read_hypotheses, read_references
from avbench.evaluation.predictions import PREDICTIONS, read_predictions
from avbench.evaluation.statistics import sufficient
from avbench.runner import stage_record
from avbench.training import loss_log

MADE = settings(
    max_examples=30,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True)
SECONDS = st.floats(min_value=0, max_value=1e6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
SPECS = st.dictionaries(TEXTS, JSON, max_size=3)


@st.composite
def clips(draw: st.DrawFn) -> dict[str, Any]:
    """Fields of a clip; beartype, which a strategy must not call, checks the clip itself."""
    start = draw(st.none() | SECONDS)
    choices = tuple(draw(st.lists(NAMES, min_size=1, max_size=3)))
    slot = {"value": choices[0], "choices": choices, "evidence": frozenset(draw(st.sets(NAMES)))}
    return {
        "id": draw(TEXTS.filter(bool)),
        "video": draw(TEXTS.filter(bool)),
        "media": Path("/data") / draw(NAMES),
        "captions": tuple(draw(st.lists(TEXTS, max_size=3))),
        "start": start,
        "end": draw(st.none() | st.floats(min_value=start or 0, max_value=2e6)),
        "next_caption": draw(st.none() | TEXTS),
        "speech": draw(st.none() | TEXTS),
        "slots": draw(st.sampled_from([{}, {"colour": slot}])),
    }


@MADE
@given(fields=clips())
def test_a_prepared_clip_is_read_back_as_it_was(fields: dict[str, Any]) -> None:
    root = Path("/data")
    slots = {name: Slot(**slot) for name, slot in fields["slots"].items()}
    clip = Clip(**{**fields, "slots": slots})
    assert clip_from_json(json.loads(json.dumps(clip_to_json(clip, root))), root) == clip


@MADE
@given(value=JSON)
def test_json_is_read_back_as_it_was(value: Any) -> None:
    with TemporaryDirectory() as name:
        path = Path(name) / "x.json"
        write_json(path, value)
        assert read_json(path) == value


@MADE
@given(spec=SPECS, results=SPECS, parents=st.dictionaries(NAMES, NAMES, max_size=2))
def test_a_job_and_a_record_are_read_back_as_they_were(
    spec: dict[str, Any], results: dict[str, Any], parents: dict[str, str]
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        job = Job(
            kind="score",
            id="0a",
            spec=spec,
            directory=folder,
            parents={role: Path(path) for role, path in parents.items()},
        )
        own = {k: plain(getattr(job, k)) for k in ("kind", "id", "spec", "parents", "local")}
        write_json(folder / JOB, own)
        assert read_job(folder) == job
        (folder / "x.csv").write_text("x")
        stage_record.write(folder, job, results=results, error=None, provenance={})
        found = stage_record.examine(folder, contents=True)
        assert found.done
        assert found.record is not None
        assert found.record["results"] == results


@MADE
@given(said=st.lists(st.builds(LostClip, id=TEXTS, reason=TEXTS, detail=TEXTS), max_size=4))
def test_lost_clips_are_read_back_as_they_were(said: list[LostClip]) -> None:
    with TemporaryDirectory() as name:
        path = Path(name) / LOST
        path.write_text("".join(clip.line() for clip in said), encoding="utf-8")
        assert list(read_lost(path)) == said


@MADE
@given(said=st.dictionaries(TEXTS.filter(bool), TEXTS, min_size=1, max_size=4))
def test_captions_are_read_back_as_they_were(said: dict[str, str]) -> None:
    with TemporaryDirectory() as name:
        path = Path(name) / PREDICTIONS
        lines = [json.dumps({"id": k, "caption": v}, ensure_ascii=False) for k, v in said.items()]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        held = [Clip(id=i, video=i, media=Path(i), captions=()) for i in said]
        assert read_predictions(path, held) == said
        one_line = {i: " ".join(text.split()) for i, text in said.items()}
        assert read_hypotheses(path) == one_line
        assert read_references(path) == {i: (text,) for i, text in one_line.items()}


@MADE
@given(
    figures=st.lists(
        st.tuples(st.integers(0, 10**9), NAMES, st.floats(allow_nan=False)), max_size=5
    )
)
def test_a_loss_curve_is_read_back_to_the_last_bit(figures: list[Any]) -> None:
    with TemporaryDirectory() as name:
        curve = loss_log.Curve(Path(name), 0)
        for step, what, value in figures:
            curve.add(step, {what: value})
        curve.close()
        assert loss_log.read(Path(name)) == figures


@MADE
@given(
    ids=st.lists(TEXTS.filter(lambda t: t and not t.endswith("\0")), unique=True, max_size=4),
    value=st.floats(allow_nan=False),
)
def test_statistics_are_read_back_as_they_were(ids: list[str], value: float) -> None:
    with TemporaryDirectory() as name:
        made = sufficient.Sufficient(
            ids=tuple(ids), videos=tuple(ids), values=np.full((len(ids), 2), value)
        )
        sufficient.write(Path(name), {i: i for i in ids}, {"cider": made})
        found = sufficient.read(Path(name))["cider"]
        assert (found.ids, found.videos) == (made.ids, made.videos)
        assert np.array_equal(found.values, made.values)


@MADE
@given(
    data=st.dictionaries(
        st.text(st.characters(categories=("L", "N")), min_size=1, max_size=8),
        st.none()
        | st.booleans()
        | st.integers(-(10**200), 10**200)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(categories=("L", "N", "P", "S", "Zs"))),
        max_size=4,
    )
)
def test_a_suites_yaml_reads_json_as_json(data: dict[str, Any]) -> None:
    with TemporaryDirectory() as name:
        path = Path(name) / "x.yaml"
        path.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
        found = strict_yaml.load(path).data
    assert found == data
    assert [type(v) for v in found.values()] == [type(v) for v in data.values()]
    assert all(math.isfinite(v) for v in found.values() if isinstance(v, float))


@MADE
@given(text=st.text(st.sampled_from("'=+-@ a1\uff1d\n,\"")))
def test_a_cell_of_a_spreadsheet_is_read_back_as_it_was(text: str) -> None:
    assert of_cell(as_cell(text)) == text
