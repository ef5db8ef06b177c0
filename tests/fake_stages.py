"""The runner over stages that do next to nothing, for the tests of ``tests/runner``."""

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from avbench.core.job import RECORD, read_json
from avbench.runner.executors.local import LocalExecutor
from avbench.runner.plan import Plan, Stage, Store
from avbench.runner.scheduler import Run

FAKE = '''
"""Stages that write what they were given; ``spec["do"]`` says how they misbehave."""
import json, os, signal, sys, time
from pathlib import Path
from avbench.core.errors import DataError
from dataclasses import replace
from avbench.runner.stage_kinds import KINDS

def run(job):
    with open(os.environ["FAKE_TRACE"], "a") as trace:
        trace.write(job.id + "\\n")
    do = job.spec.get("do", "")
    print("working on", job.id)
    if do == "environment":
        print("trim:", os.environ.get("MALLOC_TRIM_THRESHOLD_"))
    if do == "mistake":
        raise DataError("the file is empty")
    if do == "mistake at":
        raise DataError(f"{job.directory}: the file is empty")
    if do == "bug":
        raise RuntimeError("a bug")
    if do == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "die once" and not (job.directory / "tried").exists():
        (job.directory / "tried").touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    if do.startswith("lack memory") and not (job.directory / "tried").exists():
        # Twice: both times. Each of them takes a while, beside others or not.
        (job.directory / "tried").touch() if "once" in do else None
        time.sleep(0.1)
        if "error" in do:
            raise MemoryError("no room for 7 bytes")
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "no record":
        (job.directory / "record.json").mkdir()
    if do == "exit":
        sys.exit(0)
    if do == "full":
        raise OSError(28, "No space left on device", str(job.directory / "weights.safetensors"))
    if do == "chatter":
        for line in range(30_000):
            print(f"line {line:>9} of a component that says too much")
    if "output" in job.spec:
        (job.directory / "weights.safetensors").write_text(job.spec["output"])
    if do == "once" and not (job.directory / "tried").exists():
        (job.directory / "tried").touch()
        raise DataError("not yet")
    if do == "steps":
        state = job.directory / "state.json"
        done = json.loads(state.read_text())["done"] if state.exists() else 0
        (job.directory / "starts").open("a").write(f"{done}\\n")
        steps = job.spec.get("steps", 60)
        for step in range(done, steps):
            time.sleep(0.05)
            job.progress(step + 1, steps, "step")
            state.write_text(json.dumps({"done": step + 1}))
    if do == "told once" and not (job.directory / "tried").exists():
        (job.directory / "tried").touch()
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(60)
    if do == "launcher told once" and not (job.directory / "tried").exists():
        (job.directory / "tried").touch()
        job.progress(3, 60, "left")
        os._exit(1)  # as torchrun does, whatever its processes left with
    if do == "slow":
        time.sleep(60)
    below = [json.loads((p / "record.json").read_text())["results"]["sum"]
             for p in job.parents.values()]
    return {"sum": job.spec.get("x", 0) + sum(below),
            "threads": os.environ.get("OMP_NUM_THREADS"), "workers": job.local.get("workers")}

def run_many(jobs):
    return [dict(run(job), together=len(jobs)) if job.spec.get("do") != "bug"
            else RuntimeError("a bug") for job in jobs]

for name, kind in list(KINDS.items()):
    KINDS[name] = replace(kind, module="fake_stages")

if __name__ == "__main__":
    from avbench.runner.stage_process import main
    sys.modules["fake_stages"] = sys.modules["__main__"]
    sys.exit(main(sys.argv[1:]))
'''


def stage(
    id_: str, kind: str = "finetune", parents: Mapping[str, str] | None = None, **spec: object
) -> Stage:
    return Stage(id=id_, kind=kind, spec=spec, parents=parents or {})


def plan_of(*stages: Stage) -> Plan:
    return Plan(
        suite="fake",
        title="",
        preset="tiny",
        data="embedded",
        axes=(),
        datasets=(),
        seeds=(0,),
        table={},
        notes=(),
        trials=(),
        baselines={},
        prepared={},
        stages={s.id: s for s in stages},
    )


class Quiet:
    """A watcher that notes the order of events."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def started(self, stages: list[Stage], run: Run) -> None:
        self.seen.append("+" + ",".join(s.id for s in stages))

    def ended(self, stage: Stage, run: Run, seconds: float) -> None:
        self.seen.append(f"{run.status[stage.id]} {stage.id}")

    def tick(self, run: Run) -> None:
        left = run.seconds_left()
        assert left is None or left >= 0


class Bench:
    """A store and an executor over fake stages."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.store = Store(results=folder / "out", cache=folder / "cache")
        (folder / "fake_stages.py").write_text(FAKE)
        self.trace = folder / "trace"
        monkeypatch.setenv("FAKE_TRACE", str(self.trace))
        self.watcher = Quiet()
        self.run: Run

    def go(self, plan: Plan, slots: int = 2) -> int:
        command = (sys.executable, str(self.folder / "fake_stages.py"))
        self.run = Run(plan, self.store, LocalExecutor(slots, command=command), {"device": "cpu"})
        return self.run.go(self.watcher, poll=0.02)

    def record(self, stage: Stage) -> Mapping[str, object]:
        record: Mapping[str, object] = read_json(self.store.directory(stage) / RECORD)
        return record

    def traced(self) -> list[str]:
        return self.trace.read_text().split() if self.trace.exists() else []
