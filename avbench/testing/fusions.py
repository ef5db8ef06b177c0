"""The contract of a fusion."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain, combinations
from typing import Any

import torch
from torch import Tensor, nn

from avbench.core.registry import Component
from avbench.core.types import Modality, Tokens
from avbench.models.attention_maps import attention_maps
from avbench.models.contracts import Fusion, FusionContext
from avbench.models.macs import Adapter, count
from avbench.testing.findings import (
    Check,
    Finding,
    beyond_closed_form,
    common_checks,
    differs,
    gap,
    list_names,
    on,
    run_checks,
    seeded,
)
from avbench.testing.networks import (
    MODES,
    B,
    Inputs,
    NetworkChecks,
    copied,
    mode_name,
    wrong_form,
)

LENGTHS: Mapping[Modality, int] = {"audio": 5, "video": 6, "text": 4}
D, HEADS, LAYERS = 24, 4, 2
KEEP, TYPE = ".keep", ".type"
"""Suffixes of the inputs of a stream beside its values."""
ELSEWHERE = (
    "lazy",
    "initial",
    "unchanged",
    "random",
    "state",
    "dtype",
    "device",
    "gradient",
    "copy",
)
"""Checks that one set of streams of each size sees."""


def check_fusion(component: Component, options: Any = None) -> list[Finding]:
    """Check a fusion on every set of streams that it accepts.

    Args:
        component: a registered fusion.
        options: an instance of its config; None: its defaults.
    """
    checks = common_checks(component, options)
    sets = list(chain.from_iterable(combinations(LENGTHS, n) for n in range(1, 4)))
    accepted = [streams for streams in sets if _refusal(component, streams) is None]
    checks.append(_refuses(component, sets))
    # Most faults show on any streams: one set of each size sees every check, the others a few.
    full = {len(streams): streams for streams in accepted}.values()
    for streams in accepted:
        every = _Subject(component, options, streams).checks()
        left_out = () if streams in full else ELSEWHERE
        left_out = left_out if streams == accepted[-1] else (*left_out, "steps")
        chosen = [check for check in every if check.name not in left_out]
        checks += on("+".join(streams), chosen)
    return run_checks(checks)


def _refusal(component: Component, streams: tuple[Modality, ...]) -> str | None:
    try:
        said: str | None = component.build.refuses(streams)  # type: ignore[attr-defined]
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return said


def _refuses(component: Component, every: list[tuple[Modality, ...]]) -> Check:
    def run() -> str | None:
        answers = []
        for streams in [(), *every]:
            said = component.build.refuses(streams)  # type: ignore[attr-defined]
            if said is not None and not (isinstance(said, str) and said.strip()):
                return f"{said!r} for {streams}"
            answers.append(said)
        return None if None in answers else "every set of streams refused"

    return Check(
        name="refuses",
        expected="a reason or None for any streams, and None for some",
        run=run,
    )


class _Subject(NetworkChecks):
    """A fusion under test over one set of streams, and its checks."""

    layout = "(B, sum of N_m, D) in float32 and keep, in the order of the context"
    layout_advice = "join the streams: join([tokens[m] for m in context.streams])"

    def __init__(
        self,
        component: Component,
        options: Any,
        streams: tuple[Modality, ...],
        *,
        layers: int = LAYERS,
    ) -> None:
        super().__init__()
        self.component, self.options, self.streams = component, options, streams
        self.context = FusionContext(streams=streams, D=D, heads=HEADS, layers=layers)
        self.shared = frozenset(f"{m}{TYPE}" for m in streams)
        self.entries_changed = False

    def checks(self) -> list[Check]:
        """Return every check of the contract on these streams."""
        return [
            *self.network_checks(),
            Check(
                name="zeroed",
                expected="finite output whatever streams are zeroed, or hidden from attention",
                advice="divide by nothing that is zero for a zeroed stream",
                run=self.zeroed,
                needs=("shape",),
            ),
            Check(
                name="padding",
                expected="padded tokens change no kept token",
                advice="pass keep to the attention, and multiply by it before any mean or sum",
                run=self.padding,
                needs=("unchanged", "alone_training"),
            ),
            Check(
                name="inputs",
                expected="a gradient on every row of every stream",
                advice="let each stream reach the output, and detach none: its encoder would not "
                "learn",
                run=self.inputs,
                needs=("unchanged",),
            ),
            Check(
                name="countable",
                expected="every operator's MACs can be counted (avbench.models.macs)",
                run=self.countable,
                needs=("shape", "state"),
            ),
            Check(
                name="closed_form",
                expected="MACs within 0.1 % of its closed form, if it has one",
                run=self.closed_form,
                needs=("countable",),
            ),
            Check(
                name="maps",
                expected="attention sites, if any, give maps that sum to one and change nothing",
                run=self.maps,
                needs=("shape", "deterministic"),
            ),
            *self.last_checks(),
        ]

    def make(self) -> Fusion:
        made: Fusion = self.component.build(self.chosen, self.context)
        return made

    @property
    def chosen(self) -> Any:
        """The given options, or the config's defaults."""
        return self.component.config() if self.options is None else self.options

    def variants(self, seed: int = 0) -> Sequence[dict[str, Tensor]]:
        """Return tokens with padding, each row's at another place, and tokens without."""
        with seeded(seed):
            whole: dict[str, Tensor] = {}
            ends: dict[str, Tensor] = {}
            for i, m in enumerate(self.streams):
                whole[m] = torch.randn(B, LENGTHS[m], D)
                whole[m + TYPE] = torch.randn(D)
                stop = torch.tensor([2, 4, 1])[:, None] + i % 2
                ends[m + KEEP] = torch.arange(LENGTHS[m])[None] < stop
        return [whole | ends, whole]

    def call(self, network: nn.Module, given: Inputs) -> Tokens:
        tokens = self.tokens(given)
        handed = dict(tokens)
        fused: Tokens = network(handed)
        if handed.keys() != tokens.keys() or any(handed[m] is not tokens[m] for m in tokens):
            self.entries_changed = True
        return fused

    def tokens(self, given: Inputs) -> dict[Modality, Tokens]:
        """Return inputs as a fusion takes them."""
        return {
            m: Tokens(
                values=given[m],
                keep=given.get(m + KEEP),
                type_embedding=given[m + TYPE],
            )
            for m in self.streams
        }

    def keep(self, tokens: Mapping[Modality, Tokens]) -> Tensor:
        return torch.cat([_keep(tokens[m]) for m in self.streams], dim=1)

    def unchanged(self) -> str | None:
        """Also look at the mapping itself."""
        self.entries_changed = False
        problem = super().unchanged()
        if problem is None and self.entries_changed:
            return "a call changes the entries of the mapping of streams"
        return problem

    def steps(self) -> str | None:
        """Take one layer: many steps of it are enough."""
        if self.context.layers == 1:
            return super().steps()
        return _Subject(self.component, self.options, self.streams, layers=1).steps()

    def shape(self) -> str | None:
        wanted = (B, sum(LENGTHS[m] for m in self.streams), D)
        for training in MODES:
            fusion = self.fresh(training=training)
            for given in self.variants():
                for rows in (range(B), [0]):
                    tokens = self.tokens(self.rows(given, rows))
                    fused = fusion(dict(tokens))
                    problem = wrong_form(fused, (len(rows), *wanted[1:]))
                    if problem:
                        return problem
                    if not torch.equal(_keep(fused), self.keep(tokens)):
                        return "a keep that is not the streams', in the order of the context"
        return None

    def zeroed(self) -> str | None:
        fusion, tokens = self.fresh(), self.tokens(self.variants()[1])
        for n in range(1, len(self.streams) + 1):
            for chosen in combinations(self.streams, n):
                # Shapley values zero all streams; if all were hidden, no key would be left.
                for hidden in (False, True) if n < len(self.streams) else (False,):
                    changed = tokens | {m: _zeros(tokens[m], hidden) for m in chosen}
                    if not torch.isfinite(fusion(changed).values).all():
                        how = "hidden" if hidden else "zeroed"
                        return f"values that are not finite with {'+'.join(chosen)} {how}"
        return None

    def padding(self) -> str | None:
        given = self.variants()[0]
        other = copied(given)
        for m in self.streams:
            noise = 10 * torch.randn_like(given[m])
            other[m] = torch.where(given[m + KEEP][..., None], given[m], noise)
        for training in MODES:
            whole, changed = (
                self.output(self.fresh(training=training), g) for g in (given, other)
            )
            by = gap(changed, whole)
            if by is not None:
                return (
                    f"{mode_name(training)}, kept tokens differ by {by:.2g} with other values in "
                    "the padding"
                )
        return None

    def inputs(self) -> str | None:
        for training in MODES:
            given = copied(self.variants()[1])
            for m in self.streams:
                given[m].requires_grad_()
            self.backward(self.fresh(training=training), given)
            lacking = []
            for m in self.streams:
                grad = given[m].grad
                if grad is None:
                    lacking.append(m)
                else:
                    lacking += [f"{m}, row {row}" for row in range(B) if not grad[row].any()]
            if lacking:
                return list_names(f"{mode_name(training)}, no gradient on", lacking)
        return None

    def countable(self) -> str | None:
        weighted = any(p.dim() > 1 for p in self.built(0).parameters())
        return "0 MACs" if weighted and self.counted == 0 else None

    def closed_form(self) -> str | None:
        formula = getattr(self.component.build, "closed_form", None)
        if formula is None:
            return None
        lengths = {m: LENGTHS[m] for m in self.streams}
        return beyond_closed_form(self.counted / B, formula(self.chosen, self.context, lengths))

    @cached_property
    def counted(self) -> int:
        """The MACs of the whole batch."""
        fusion, tokens = self.fresh(), self.tokens(self.variants()[1])

        def call(*values: Tensor) -> Tensor:
            given = {
                m: Tokens(values=v, type_embedding=tokens[m].type_embedding)
                for m, v in zip(self.streams, values, strict=True)
            }
            fused: Tokens = fusion(given)
            return fused.values

        given = (tokens[m].values for m in self.streams)
        return count(Adapter({"fusion": fusion}, call), *given).macs

    def maps(self) -> str | None:
        fusion, tokens = self.fresh(), self.tokens(self.variants()[0])
        if not fusion.sites():
            return None
        fused, found = attention_maps(fusion, tokens)
        for site in found:
            sums = site.weights.sum(-1)
            if (said := differs("sums of a map", sums, torch.ones_like(sums))) is not None:
                return f"{said} (layer {site.layer}, {site.branch})"
        return differs("output", fused.values, fusion(tokens).values, within=0.0)


def _keep(tokens: Tokens) -> Tensor:
    if tokens.keep is not None:
        return tokens.keep
    return tokens.values.new_ones(tokens.values.shape[:2], dtype=torch.bool)


def _zeros(tokens: Tokens, hidden: bool) -> Tokens:
    """Return a zeroed stream; ``hidden`` also hides it from attention."""
    return Tokens(
        values=torch.zeros_like(tokens.values),
        keep=torch.zeros_like(_keep(tokens)) if hidden else None,
        type_embedding=tokens.type_embedding,
    )
