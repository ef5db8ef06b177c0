"""Suites that are planned, with records written by hand, or stages that really run."""

from pathlib import Path
from typing import Any

from avbench.config.overrides import Overrides
from avbench.config.suite import read_suite
from avbench.core.job import RECORD, Job, write_json
from avbench.core.registry import load
from avbench.runner.plan import Plan, Stage, Store
from avbench.runner.planning.planner import make_plan
from avbench.runner.stage_process import run_stages

TINY_WORLD = """
world: {narrated_videos: 4, steps_per_video: 3, clips: 12, test_clips: 12, size: 32, fps: 5}
input:
  {frames: 4, size: 32, store_frames: 6, mel_frames: 64, time_mask: 8, frequency_mask: 8,
   caption_tokens: 12}
model:
  D: 32
  heads: 2
  cross_layers: 1
  decoder_layers: 1
  encoders:
    video: {name: video_swin, embed_dim: 8, depths: [1, 1], num_heads: [2, 2],
            window_size: [2, 2, 2]}
    audio: {name: audio_transformer, layers: 1, heads: 2, patch_frames: 4, pool: 1}
    text: {name: bert, layers: 1, heads: 2}
"""
"""Part of a suite: a model and a world so small that some seconds train it."""


def write_record(store: Store, stage: Stage, **more: Any) -> Path:
    """Write the record of a stage, done unless ``more`` says otherwise; return its folder."""
    folder = store.directory(stage)
    folder.mkdir(parents=True, exist_ok=True)
    record = {"kind": stage.kind, "id": stage.id, "status": "done", "results": {}, "error": None}
    write_json(folder / RECORD, {**record, "provenance": {}, **more})
    return folder


class Recorded:
    """A planned suite, and its store."""

    def __init__(self, folder: Path, suite: str) -> None:
        (folder / "s.yaml").write_text(suite)
        registry = load()
        read = read_suite(str(folder / "s.yaml"), registry, Overrides())
        self.plan: Plan = make_plan(read, registry)
        self.store = Store(results=folder / "results", cache=folder / "cache")

    def write(self, stage: Stage, status: str = "done", **more: Any) -> None:
        write_record(self.store, stage, status=status, **more)

    def run(self, id_: str) -> None:
        """Run a stage and all that it reads, in this process."""
        stage = self.plan.stages[id_]
        if self.store.done(stage):
            return
        for parent in stage.parents.values():
            self.run(parent)
        directory = self.store.directory(stage)
        directory.mkdir(parents=True, exist_ok=True)
        parents = {r: self.store.directory(self.plan.stages[p]) for r, p in stage.parents.items()}
        job = Job(
            kind=stage.kind,
            id=stage.id,
            spec=stage.spec,
            directory=directory,
            parents=parents,
            local={**stage.local, "workers": 1, "device": "cpu"},
        )
        assert run_stages([job]), self.store.record(stage)
