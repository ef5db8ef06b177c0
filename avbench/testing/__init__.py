"""The contract of each family as plain functions, for plugin authors and avbench's own tests.

``check(component)`` runs a family's checks on one registered component and returns a finding for
each, with the expected and the observed result. It raises nothing. ``avbench check NAME`` prints
them. In a plugin's own tests::

    from avbench.core.registry import load
    from avbench.testing import check

    def test_contract():
        assert [f for f in check(load().get("fusions", "my_fusion")) if not f.ok] == []
"""

from collections.abc import Callable, Mapping
from typing import Any

from avbench.core.registry import Component
from avbench.testing.datasets import check_dataset
from avbench.testing.encoders import check_encoder
from avbench.testing.findings import Finding
from avbench.testing.fusions import check_fusion
from avbench.testing.losses import check_loss
from avbench.testing.metrics import check_metric
from avbench.testing.modalities import check_modality

CHECKS: Mapping[str, Callable[[Component, Any], list[Finding]]] = {
    "encoders": check_encoder,
    "fusions": check_fusion,
    "losses": check_loss,
    "modalities": check_modality,
    "datasets": check_dataset,
    "metrics": check_metric,
}
"""The checks of each family."""


def check(component: Component, options: Any = None) -> list[Finding]:
    """Run the checks of a component's family.

    Args:
        component: a registered component.
        options: an instance of its config; None: its defaults.
    """
    return CHECKS[component.family](component, options)


__all__ = [
    "CHECKS",
    "Finding",
    "check",
    "check_dataset",
    "check_encoder",
    "check_fusion",
    "check_loss",
    "check_metric",
    "check_modality",
]
