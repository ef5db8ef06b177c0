"""The costs of training beside its steps: the loop, the loader, and checkpoints."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from avbench.core.components import ComponentRef
from avbench.core.job import Job
from avbench.core.options import plain
from avbench.core.types import Batch, InputSpec
from avbench.data import tokenizer
from avbench.data.dataset import ClipData
from avbench.data.loader import Feed
from avbench.data.prepared import stage as prepare
from avbench.data.prepared.split import PreparedSplit
from avbench.data.settings import SamplingSettings, VocabularySettings
from avbench.data.settings import WorldSettings as World
from avbench.data.tokenizer import Vocabulary
from avbench.data.world import stage as world
from avbench.training import checkpoint
from avbench.training.engine import Engine
from avbench.training.probe import optimiser
from avbench.training.schedule import rate
from avbench.training.settings import TrainSettings
from avbench.training.trainer import Trainer
from avbench.training.training_job import TrainingJob
from tests.steps import Case, Step, make_case

FUSION = "local_global_merged"
STEPS = 3
"""Of a round: so that what a loop does once is not all of its overhead."""
CPU = torch.device("cpu")
ALPHA, BETA = 10.0, 0.99
"""Of MBP (Eq. 4 and 5)."""


def prepared(folder: Path, spec: InputSpec, videos: int) -> ClipData:
    """Narrated clips of the embedded world, prepared for a preset, as training reads them."""
    places = {name: folder / name for name in ("world", "data", "vocabulary")}
    for place in places.values():
        place.mkdir(parents=True)
    settings = World(narrated_videos=videos, size=spec.size, datasets=("howto100m",))
    given: dict[str, Any] = {"local": {"workers": 1}}
    world.run(Job(kind="world", id="w", spec=plain(settings), directory=places["world"], **given))
    wanted = {
        "dataset": "howto100m", "reader": {"name": "howto100m", "options": {}}, "role": "train",
        "input": plain(spec), "policy": "fail", "read": "stored", "fingerprint": "",
    }  # fmt: skip
    given["parents"] = {"world": places["world"]}
    prepare.run(Job(kind="prepare", id="p", spec=wanted, directory=places["data"], **given))
    tokenizer.run(
        Job(
            kind="vocabulary", id="v", spec=plain(VocabularySettings(size=300)),
            directory=places["vocabulary"], parents={"data/howto100m": places["data"]},
        )
    )  # fmt: skip
    sampling = SamplingSettings(tasks=("pcc", "pnc"))
    words = Vocabulary.open(places["vocabulary"])
    return ClipData(PreparedSplit.open(places["data"]), words, spec, sampling=sampling)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipData:
    """Clips at the geometry of the preset tiny."""
    spec = make_case("tiny", FUSION, 1).architecture.input
    return prepared(tmp_path_factory.mktemp("clips"), spec, videos=6)


class InMemory:
    """A feed that gives one batch again and again."""

    rows = ()

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def batches(self, start: int, steps: int, seed: int) -> Iterator[list[Batch]]:
        for _ in range(start, steps):
            yield [self.batch]


def of(given: Case, loss: str) -> TrainSettings:
    return TrainSettings(
        loss=ComponentRef(name=loss), tasks=("pcc", "pnc"), steps=STEPS, batch=given.clips,
        measure_every=50, lr=1e-3,
    )  # fmt: skip


def trainer_of(given: Case, work: Job, loss: str) -> Trainer:
    """A trainer as a stage makes it, fed from memory."""
    return Trainer(
        TrainingJob(
            job=work,
            settings=of(given, loss),
            steps=STEPS,
            per_epoch=1,
            seed=0,
            engine=Engine(CPU),
            architecture=given.architecture,
            captioner=given.captioner,
            loss=given.strategy(loss),
            feed=InMemory(given.batch),  # type: ignore[arg-type]
            held_out=(),
        )
    )


class Bare:
    """The same training written out in PyTorch alone."""

    def __init__(self, given: Case, loss: str) -> None:
        self.captioner, self.batch = given.captioner, given.batch
        self.settings = of(given, loss)
        self.adam = optimiser(given.captioner, self.settings)
        streams = given.captioner.configuration.encoded
        alone = [frozenset({m}) for m in streams]
        balanced = loss == "mbp"
        self.views = [given.captioner.joint, *(alone if balanced else [])]
        self.measured = [] if balanced else alone
        self.weights = torch.full((len(streams),), 1 / len(streams))

    def __call__(self) -> list[float]:
        self.captioner.train()
        shown = []
        for step in range(STEPS):
            for group in self.adam.param_groups:
                group["lr"] = self.settings.lr * rate(step, STEPS, self.settings.warmup)
            self.adam.zero_grad(set_to_none=True)
            # Ours measures what it does not train at the first step and the last.
            measured = [] if 0 < step < STEPS - 1 else self.measured
            losses = self.captioner(self.batch, self.views, measured=measured)
            joint, *alone = (losses[view].nats for view in self.views)
            total = joint
            if alone:
                gaps = (torch.stack(alone) - joint).detach() ** 2
                self.weights = BETA * self.weights + (1 - BETA) * torch.softmax(ALPHA * gaps, 0)
                total = joint + (self.weights * torch.stack(alone)).sum()
            total.backward()
            nn.utils.clip_grad_norm_(self.captioner.parameters(), 1.0)
            self.adam.step()
            shown.append(joint.item())
        return shown


def job(folder: Path) -> Job:
    folder.mkdir(exist_ok=True)
    never = {"checkpoint_seconds": 1e9}
    return Job(kind="pretrain", id="b", spec={}, directory=folder, local=never)


@pytest.mark.parametrize("loss", ["mbp", "plain"])
def test_the_loop_against_a_bare_loop(compare, one_core, tmp_path, loss: str) -> None:
    """Progress, curve, strategy, Fabric and all else that a step does not need."""
    ours, theirs = (make_case("tiny", FUSION, 12, chance=False) for _ in range(2))
    trainer, bare = trainer_of(ours, job(tmp_path / "run"), loss), Bare(theirs, loss)

    def fit() -> None:
        trainer.step = 0
        trainer.fit()

    fit()
    bare()
    for mine, other in zip(
        ours.captioner.parameters(), theirs.captioner.parameters(), strict=True
    ):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=2e-4)
    compare(
        f"{'MBP' if loss == 'mbp' else loss} training, {STEPS} steps: {ours.name}",
        ours=fit, theirs=bare,
        against="a bare PyTorch loop over the same model, in memory", at_most=1.03, rounds=7,
        note="ours with its progress file, curve, gradient norms, checks and schedule; the same "
        "weights in the end",
    )  # fmt: skip


def test_a_step_fed_by_the_loader_against_one_in_memory(compare, one_core, clips) -> None:
    """Reading, SpecAugment, tokens and collation, without worker processes on the same core."""
    given = make_case("tiny", FUSION, 30)
    feed = Feed(data=clips, rows=range(len(clips)), batch=30, group=3, device=CPU)
    held = [parts[0] for parts in feed.batches(0, STEPS, 0)]
    given = replace(given, batch=held[0])
    step = Step(given, "plain")

    def fed() -> None:
        for parts in feed.batches(0, STEPS, 0):
            step.batch = parts[0]
            step()

    def in_memory() -> None:
        for batch in held:
            step.batch = batch
            step()

    compare(
        f"plain training, {STEPS} steps fed by the loader: {given.name}", ours=fed,
        theirs=in_memory, against="the same batches in memory", at_most=1.10, rounds=5,
        note="no worker processes: with them, reading takes place beside the steps",
    )  # fmt: skip


def test_a_checkpoint_against_writing_its_bytes(compare, one_core, tmp_path) -> None:
    """The steps of a safe write: to the disk, by its hash, under its name, the old one dropped."""
    network = nn.Linear(4096, 5461)
    engine = Engine(CPU)
    module, adam = engine.fabric.setup(network, torch.optim.AdamW(network.parameters()))
    module(torch.randn(1, 4096)).sum().backward()
    adam.step()
    state = {"model": module, "optimiser": adam, "step": 1, "random": engine.random_states()}
    bytes_ = tmp_path / "bytes"
    steps = iter(range(1, 1000))

    def ours() -> None:
        engine.save(tmp_path, next(steps), state, keep=1)

    def theirs() -> None:
        whole = {"model": network.state_dict(), "optimiser": adam.state_dict(), "step": 1}
        with bytes_.open("wb") as file:
            torch.save(whole, file)
            file.flush()
            os.fsync(file.fileno())

    ours()
    theirs()
    (written,) = checkpoint.newest_first(tmp_path)
    size = written.stat().st_size
    assert size == pytest.approx(bytes_.stat().st_size, rel=0.01)
    loaded = torch.load(written, weights_only=True)
    assert torch.equal(loaded["model"]["weight"], network.weight)
    compare(
        f"a checkpoint of {size / 2**20:.0f} MiB", ours=ours, theirs=theirs,
        against="torch.save and fsync", cost=True, rounds=9,
        note="beyond the bytes it takes their SHA-256, made as they are written",
    )  # fmt: skip


def test_reading_at_the_papers_geometry(tabulated, one_core, benchmark, tmp_path) -> None:
    """Clips a second that one core reads: the rate that worker processes must keep up with."""
    spec = make_case("paper", FUSION, 1).architecture.input
    data = prepared(tmp_path, spec, videos=1)
    feed = Feed(data=data, rows=range(len(data)), batch=len(data), group=1, device=CPU)

    def read() -> int:
        return sum(len(parts[0].ids) for parts in feed.batches(0, 2, 0))

    benchmark.pedantic(read, rounds=5, warmup_rounds=1)
    if benchmark.stats is None:
        return
    seconds = benchmark.stats.stats.median / (2 * len(data))
    tabulated(
        "Reading training clips at the paper's geometry, one core",
        [{"ms a clip": f"{1e3 * seconds:.1f}", "clips a second": f"{1 / seconds:.0f}"}],
        "From prepared clips in the page cache, with SpecAugment and tokens; no decoding.",
    )
