"""``avbench plugin new``: writes a working plugin to start from, and its test."""

import keyword
from pathlib import Path
from string import Template

from avbench.core.errors import AvbenchError, unknown

FUSION = '''"""$title: say in one sentence what attends to what."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from avbench.api import (
    Fusion,
    FusionContext,
    Modality,
    Norm,
    Register,
    Tokens,
    TransformerLayer,
    hookimpl,
    initialise,
    join,
)
from torch import nn


@dataclass(frozen=True, kw_only=True, slots=True)
class ${class}Options:
    """Options of $name; each has a default and enters the results' ids."""

    norm: Norm = "pre"
    """Position of the layer norms: ``pre`` or ``post``."""


@final
class $class(Fusion):
    """[φᵃ; φᵛ] ← T([φᵃ; φᵛ], [φᵃ; φᵛ]) in every layer: put your equation here.

    Source: name the paper or URL that describes it.
    """

    def __init__(self, options: ${class}Options, context: FusionContext) -> None:
        super().__init__()
        self.streams = context.streams
        self.layers = nn.ModuleList(
            TransformerLayer(context.D, context.heads, dropout=context.dropout, norm=options.norm)
            for _ in range(context.layers)
        )
        self.apply(initialise)

    @classmethod
    def refuses(cls, streams: tuple[Modality, ...]) -> str | None:
        """Return why these streams cannot be fused (suites then skip the row), or None."""
        return None if streams else "there is nothing to fuse"

    def forward(self, tokens: Mapping[Modality, Tokens]) -> Tokens:
        """Fuse (B, N_m, D) per stream to (B, sum of N_m, D), in the order of the context."""
        fused = join([tokens[m] for m in self.streams])
        values = fused.values
        for layer in self.layers:
            values = layer(values, values, fused.keep)
        return Tokens(values=values, keep=fused.keep)


@hookimpl
def register_fusions(register: Register) -> None:
    """Register $name."""
    register("$name", $class, config=${class}Options, source="$name (this file)")
'''

LOSS = '''"""$title: say in one sentence how the losses are balanced."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from avbench.api import (
    LossContext,
    LossStrategy,
    Objective,
    Register,
    View,
    ViewLoss,
    hookimpl,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ${class}Options:
    """Options of $name; each has a default and enters the results' ids."""

    weight: float = 0.5
    """Weight of the mean of the mono-modal losses relative to the joint loss."""


@final
class $class(LossStrategy):
    """L + weight · mean over m of L_m: put your formula here.

    Source: name the paper or URL that describes it.
    """

    def __init__(self, options: ${class}Options, context: LossContext) -> None:
        self.joint: View = frozenset(context.streams)
        several = len(context.streams) > 1
        self.single: tuple[View, ...] = tuple(
            frozenset({m}) for m in (context.streams if several else ())
        )
        self.weight = options.weight / max(1, len(self.single))

    def views(self) -> tuple[View, ...]:
        """Return the joint view, and each modality alone with the others zeroed."""
        return (self.joint, *self.single)

    def combine(self, losses: Mapping[View, ViewLoss]) -> Objective:
        """Return the weighted sum of the losses, in nats per target token, to minimise."""
        weights = {self.joint: 1.0} | dict.fromkeys(self.single, self.weight)
        total = losses[self.joint].nats
        for view in self.single:
            total = total + weights[view] * losses[view].nats
        return Objective(total=total, weights=weights)


@hookimpl
def register_losses(register: Register) -> None:
    """Register $name."""
    register("$name", $class, config=${class}Options, source="$name (this file)")
'''

TEST = '''"""The contract of $name; ``avbench check $name`` runs the same."""

from pathlib import Path

from avbench.core.registry import load
from avbench.testing import check


def test_$name() -> None:
    component = load(Path(__file__).parent).get("$family", "$name")
    failed = [finding for finding in check(component) if not finding.ok]
    assert not failed, "\\n".join(f"{f.check}: expected {f.expected}, got {f.got}" for f in failed)
'''

FAMILIES = {"fusion": ("fusions", FUSION), "loss": ("losses", LOSS)}
"""Families on the command line: the registry's name, and the module's template."""


def write(name: str, family: str, folder: Path) -> list[Path]:
    """Write ``NAME.py`` and ``test_NAME.py`` to a folder, which is created if missing.

    Raises:
        AvbenchError: the name is no identifier, the family has no template, or a file exists.
    """
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith(("_", "test_")):
        raise AvbenchError(
            f"plugin name '{name}': must be a Python identifier that begins with neither '_' nor "
            "'test_', e.g. my_fusion; it names a module"
        )
    if family not in FAMILIES:
        raise AvbenchError(f"--family: {unknown('family', family, FAMILIES)}")
    plural, module = FAMILIES[family]
    values = {
        "name": name,
        "family": plural,
        "class": "".join(part.capitalize() for part in name.split("_")),
        "title": name.replace("_", " ").capitalize(),
    }
    texts = {folder / f"{name}.py": module, folder / f"test_{name}.py": TEST}
    for path in texts:
        if path.exists():
            raise AvbenchError(f"{path}: exists already; nothing was written")
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.write_text(Template(text).substitute(values), encoding="utf-8")
    return list(texts)
