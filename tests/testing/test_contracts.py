"""Every registered component keeps its family's contract."""

import pytest

from avbench.core.registry import FAMILIES, Component, load
from avbench.testing import CHECKS, check

SMALL = {
    "video_swin": {
        "embed_dim": 16,
        "depths": (1, 2),
        "num_heads": (1, 2),
        "window_size": (2, 4, 4),
    },
    "audio_transformer": {"layers": 1, "heads": 4},
    "bert": {"layers": 1, "heads": 4},
    "timm_frames": {"name": "test_resnet"},
}
"""Options that keep a network small; components that are not listed run with their defaults."""
JAVA = {"coco_caption"}

COMPONENTS = [
    pytest.param(
        c,
        id=f"{c.family}-{c.name}",
        marks=[pytest.mark.java, pytest.mark.slow] if c.name in JAVA else [],
    )
    for c in load()
]


@pytest.mark.parametrize("component", COMPONENTS)
def test_contract(component: Component) -> None:
    options = component.config(**SMALL.get(component.name, {}))
    needs_files = component.family == "datasets"
    found = check(component, None if needs_files else options)
    assert [f for f in found if not f.ok] == []
    assert len({f.check for f in found}) == len(found) >= 3


def test_every_family_has_checks_and_components() -> None:
    assert set(CHECKS) == set(FAMILIES)
    assert {c.values[0].family for c in COMPONENTS} == set(FAMILIES)
