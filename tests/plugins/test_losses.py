"""Loss strategies against vectors computed by hand."""

import math

import pytest
import torch
from avbench_plugins.losses.gblend import GBlend, GBlendOptions, overfitting_to_generalisation
from avbench_plugins.losses.mbp import MBP, MBPOptions
from avbench_plugins.losses.plain import Plain

from avbench.api import LossContext, ProbeCurve, View, ViewLoss

A, V, AV = frozenset({"audio"}), frozenset({"video"}), frozenset({"audio", "video"})
CONTEXT = LossContext(streams=("audio", "video"))


def losses(joint: float, audio: float, video: float) -> dict[View, ViewLoss]:
    return {
        view: ViewLoss(
            nats=torch.tensor(value, dtype=torch.float64, requires_grad=True),
            token_probability=torch.tensor(0.5),
            tokens=7,
        )
        for view, value in ((AV, joint), (A, audio), (V, video))
    }


def test_plain_is_the_joint_loss_and_asks_for_no_other_view() -> None:
    strategy = Plain(None, CONTEXT)
    assert strategy.views() == (AV,)
    assert strategy.combine(losses(1.5, 2.0, 3.0)).total.item() == 1.5


def test_mbp_follows_equations_3_to_6() -> None:
    strategy = MBP(MBPOptions(), CONTEXT)
    assert strategy.views() == (AV, A, V)
    # Gaps 0.1 and 0.5: G = 0.01 and 0.25; softmax(0.1, 2.5) = 0.0831727, 0.9168273;
    # w = 0.99 · 0.5 + 0.01 · w̃ = 0.495831727, 0.504168273.
    log = strategy.observe(losses(1.0, 1.1, 1.5))
    objective = strategy.combine(losses(1.0, 1.1, 1.5))
    assert strategy.weights["audio"] == pytest.approx(0.4958317270, abs=1e-9)
    assert strategy.weights["video"] == pytest.approx(0.5041682730, abs=1e-9)
    expected = 1.0 + 0.4958317270 * 1.1 + 0.5041682730 * 1.5
    assert objective.total.item() == pytest.approx(expected, abs=1e-9)
    assert log == pytest.approx({"gap_audio": 0.1, "gap_video": 0.5})


def test_mbp_weights_are_smoothed_over_iterations_and_carry_no_gradient() -> None:
    strategy = MBP(MBPOptions(alpha=10.0, beta=0.99), CONTEXT)
    given = losses(1.0, 1.0, 2.0)
    for _ in range(3):
        strategy.observe(given)
    objective = strategy.combine(given)
    target = math.exp(10) / (1 + math.exp(10))
    w = 0.5
    for _ in range(3):
        w = 0.99 * w + 0.01 * target
    assert strategy.weights["video"] == pytest.approx(w, abs=1e-12)
    objective.total.backward()
    assert given[AV].nats.grad == 1.0
    assert given[V].nats.grad.item() == pytest.approx(w, abs=1e-12)


def test_mbp_treats_a_negative_gap_as_its_square_but_logs_the_sign() -> None:
    strategy = MBP(MBPOptions(), CONTEXT)
    log = strategy.observe(losses(1.0, 0.5, 1.5))
    assert strategy.weights["audio"] == pytest.approx(strategy.weights["video"])
    assert log == {"gap_audio": -0.5, "gap_video": 0.5}


@pytest.mark.parametrize(("start", "first"), [(None, 0.5), (0.0, 0.0), (1.0, 1.0)])
def test_mbps_weights_start_where_they_are_told(start: float | None, first: float) -> None:
    strategy = MBP(MBPOptions(start=start), CONTEXT)
    assert strategy.weights == {"audio": first, "video": first}
    strategy.observe(losses(1.0, 1.1, 1.5))
    assert strategy.weights["video"] == pytest.approx(0.99 * first + 0.01 * 0.9168273, abs=1e-9)


def test_mbp_of_three_streams_keeps_a_weight_for_each() -> None:
    strategy = MBP(MBPOptions(), LossContext(streams=("audio", "video", "text")))
    assert len(strategy.views()) == 4
    assert sum(strategy.weights.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    "build", [lambda c: MBP(MBPOptions(), c), lambda c: GBlend(GBlendOptions(), c)]
)
def test_with_a_single_stream_the_balanced_losses_are_the_plain_loss(build) -> None:
    strategy = build(LossContext(streams=("audio",)))
    assert strategy.views() == (A,)
    only = {A: losses(1.25, 1.25, 0)[A]}
    assert strategy.combine(only).total.item() == 1.25
    assert not strategy.probe_at(100)
    assert strategy.held_out == 0


CURVES = {
    A: ProbeCurve(train_before=2.0, train_after=0.8, held_before=2.1, held_after=1.9),
    V: ProbeCurve(train_before=2.0, train_after=1.4, held_before=2.1, held_after=1.6),
    AV: ProbeCurve(train_before=2.0, train_after=0.7, held_before=2.1, held_after=1.5),
}


def test_gblend_gives_the_check_vector() -> None:
    strategy = GBlend(GBlendOptions(), CONTEXT)
    asked = []

    def probe(view: View, steps: int) -> ProbeCurve:
        asked.append((view, steps))
        return CURVES[view]

    log = strategy.reestimate(probe, 40)
    assert sorted(asked, key=str) == sorted([(AV, 40), (A, 40), (V, 40)], key=str)
    found = [round(strategy.weights[view], 4) for view in (A, V, AV)]
    assert found == [0.0039, 0.9723, 0.0238]
    assert log["G_audio"] == pytest.approx(0.2)
    assert log["O_audio"] == pytest.approx(1.0)
    assert log["G_audio+video"] == pytest.approx(0.6)
    total = strategy.combine(losses(1.0, 2.0, 3.0)).total.item()
    expected = sum(strategy.weights[v] * x for v, x in ((AV, 1.0), (A, 2.0), (V, 3.0)))
    assert total == pytest.approx(expected)


def test_gblend_with_the_joint_weight_one() -> None:
    strategy = GBlend(GBlendOptions(normalise="joint"), CONTEXT)
    strategy.reestimate(lambda view, steps: CURVES[view], 1)
    assert strategy.weights[AV] == 1
    assert strategy.weights[V] == pytest.approx(50 / (0.6 / 0.49))


def test_gblend_keeps_its_weights_when_no_head_generalises() -> None:
    strategy = GBlend(GBlendOptions(), CONTEXT)
    strategy.reestimate(lambda view, steps: CURVES[view], 1)
    before = dict(strategy.weights)
    worse = ProbeCurve(train_before=2.0, train_after=1.0, held_before=2.0, held_after=2.5)
    strategy.reestimate(lambda view, steps: worse, 1)
    assert strategy.weights == before


def test_gblend_floors_a_vanishing_overfitting() -> None:
    curve = ProbeCurve(train_before=2.0, train_after=1.5, held_before=2.0, held_after=1.5)
    gain, overfitting, weight = overfitting_to_generalisation(curve, floor=0.01)
    assert (gain, overfitting) == (0.5, 0.0)
    assert weight == pytest.approx(0.5 / (0.01 * 2.0) ** 2)


def test_gblend_probes_online_in_super_epochs_that_cover_the_run() -> None:
    schedule = GBlend(GBlendOptions(), CONTEXT).probe_at(100)
    assert list(schedule.items())[:3] == [(0, 10), (10, 5), (15, 5)]
    assert sum(schedule.values()) == 100
    assert GBlend(GBlendOptions(), CONTEXT).probe_at(7) == dict.fromkeys(range(7), 1)


def test_gblend_probes_offline_once() -> None:
    strategy = GBlend(GBlendOptions(mode="offline"), CONTEXT)
    assert strategy.probe_at(100) == {0: 100}


@pytest.mark.parametrize(
    "make", [lambda: MBP(MBPOptions(), CONTEXT), lambda: GBlend(GBlendOptions(), CONTEXT)]
)
def test_state_survives_a_checkpoint(make) -> None:
    strategy, restored = make(), make()
    strategy.observe(losses(1.0, 1.2, 2.0))
    if strategy.probe_at(10):
        strategy.reestimate(lambda view, steps: CURVES[view], 1)
    restored.load_state_dict(strategy.state_dict())
    given = losses(0.9, 1.0, 1.9)
    for each in (restored, strategy):
        each.observe(given)
    assert restored.combine(given).total == strategy.combine(given).total
