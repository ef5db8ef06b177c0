"""A loss strategy of quite another kind, OGM-GE, in a folder of plugins: the contract suffices."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from avbench.api import LossContext
from avbench.core.registry import Component, load
from avbench.core.types import ViewLoss
from avbench.models.weights import WEIGHTS
from avbench.testing import check
from avbench.training import loss_log
from avbench.training import stage as train
from tests.training.test_training import job

FOLDER = Path(__file__).parents[1] / "example_plugins"


@pytest.fixture(scope="module")
def component() -> Component:
    return load(FOLDER).get("losses", "ogm_ge")


def seen(component: Component, audio: float, video: float, **options):
    """The strategy after a step in which the target tokens had these probabilities."""
    strategy = component.build(
        component.config(**options), LossContext(streams=("audio", "video"))
    )
    probability = {frozenset({"audio"}): audio, frozenset({"video"}): video}
    log = strategy.observe(
        {
            view: ViewLoss(
                nats=torch.tensor(1.0),
                token_probability=torch.tensor(probability.get(view, 0.9)),
                tokens=5,
            )
            for view in strategy.views()
        }
    )
    return strategy, log


def test_it_keeps_the_contract(component) -> None:
    assert [f for f in check(component) if not f.ok] == []


def test_the_stronger_modality_is_held_back(component) -> None:
    _, log = seen(component, audio=0.6, video=0.2, alpha=0.5)
    assert log == pytest.approx({"k_audio": 1 - math.tanh(0.5 * 3), "k_video": 1.0})


def test_only_weight_matrices_of_its_encoder_change(component) -> None:
    strategy, log = seen(component, audio=0.6, video=0.2, noise=False)
    encoders = {
        m: [torch.nn.Parameter(torch.zeros(3, 2)), torch.nn.Parameter(torch.zeros(2))]
        for m in ("audio", "video")
    }
    for p in (p for parameters in encoders.values() for p in parameters):
        p.grad = torch.ones_like(p)
    strategy.modulate(encoders)
    matrix, bias = (p.grad for p in encoders["audio"])
    assert matrix.flatten().tolist() == pytest.approx([log["k_audio"]] * 6)
    assert bias.tolist() == [1, 1]
    assert all((p.grad == 1).all() for p in encoders["video"])


def test_it_trains_in_the_one_loop(component, narrated, tmp_path) -> None:
    modulated, plain = (
        job(narrated, tmp_path / loss, loss=loss, steps=6) for loss in ("ogm_ge", "plain")
    )
    modulated = replace(modulated, local={**modulated.local, "plugins_dir": str(FOLDER)})
    result = train.run(modulated)
    train.run(plain)
    assert set(result["loss"]) == {"L", "L_audio", "L_video"}
    factors = [v for _, name, v in loss_log.read(modulated.directory) if name.startswith("k_")]
    assert len(factors) == 12
    assert min(factors) < 1
    ours, theirs = (load_file(j.directory / WEIGHTS) for j in (modulated, plain))
    assert any(not torch.equal(ours[n], theirs[n]) for n in ours if n.startswith("encoders."))
