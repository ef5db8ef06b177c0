"""The contract of a fusion."""

from collections.abc import Mapping
from itertools import chain, combinations
from typing import Any

import torch
from torch import Tensor

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
    list_names,
    run_checks,
    seeded,
)

LENGTHS: Mapping[Modality, int] = {"audio": 5, "video": 6, "text": 4}
B, D, HEADS, LAYERS = 3, 24, 4, 2


def check_fusion(component: Component, options: Any = None) -> list[Finding]:
    """Check a fusion on every set of streams that it accepts.

    Args:
        component: a registered fusion.
        options: an instance of its config; None: its defaults.
    """
    checks = common_checks(component, options)
    every = list(chain.from_iterable(combinations(LENGTHS, n) for n in range(1, 4)))
    accepted = [streams for streams in every if _refusal(component, streams) is None]
    checks.append(_refuses(component, every))
    for streams in accepted:
        subject = _Subject(component, options, streams)
        checks += subject.checks()
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


class _Subject:
    """A fusion under test over one set of streams, and its checks."""

    def __init__(self, component: Component, options: Any, streams: tuple[Modality, ...]) -> None:
        self.component, self.options, self.streams = component, options, streams
        self.context = FusionContext(streams=streams, D=D, heads=HEADS, layers=LAYERS)

    def checks(self) -> list[Check]:
        """Return every check of the contract on these streams."""
        stated = {
            self.shape: "(B, sum of N_m, D) and keep, streams in the order of the context",
            self.zeroed: "finite output whatever streams are zeroed, or hidden from attention",
            self.padding: "padded tokens change no kept token",
            self.parameters: "a gradient on every parameter",
            self.inputs: "a gradient on every stream",
            self.deterministic: "the same output twice in eval mode",
            self.permutation: "permuting the batch permutes the output",
            self.state: "a state dict carries the whole function to a new instance",
            self.countable: "every operator's MACs can be counted (avbench.models.macs)",
            self.closed_form: "MACs within 0.1 % of its closed form, if it has one",
            self.maps: "its attention sites, if any, give maps that sum to one and change nothing",
        }
        where = "+".join(self.streams)
        return [
            Check(name=f"{run.__name__} [{where}]", expected=expected, run=run)
            for run, expected in stated.items()
        ]

    def build(self, seed: int = 0) -> Fusion:
        with seeded(seed):
            fusion: Fusion = self.component.build(self.chosen, self.context)
        return fusion.eval()

    @property
    def chosen(self) -> Any:
        """The given options, or the config's defaults."""
        return self.component.config() if self.options is None else self.options

    def tokens(self, *, padded: bool = False) -> dict[Modality, Tokens]:
        """Return random tokens; padded streams end after 2, 3, … tokens, each at another place."""
        streams = {}
        for i, m in enumerate(self.streams):
            n = LENGTHS[m]
            ends = torch.arange(B)[:, None] + 2 + i % 2
            streams[m] = Tokens(
                values=torch.randn(B, n, D),
                keep=torch.arange(n)[None] < ends if padded else None,
                type_embedding=torch.randn(D),
            )
        return streams

    def keep(self, tokens: Mapping[Modality, Tokens]) -> Tensor:
        return torch.cat([_keep(tokens[m]) for m in self.streams], dim=1)

    def shape(self) -> str | None:
        fusion = self.build()
        for padded in (False, True):
            tokens = self.tokens(padded=padded)
            fused = fusion(tokens)
            wanted = (B, sum(LENGTHS[m] for m in self.streams), D)
            if tuple(fused.values.shape) != wanted:
                return f"shape {tuple(fused.values.shape)} instead of {wanted}"
            if not torch.isfinite(fused.values).all():
                return "values that are not finite"
            if not torch.equal(_keep(fused), self.keep(tokens)):
                return "a keep that is not the streams', in the order of the context"
        return None

    def zeroed(self) -> str | None:
        fusion, tokens = self.build(), self.tokens()
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
        fusion, tokens = self.build(), self.tokens(padded=True)
        keep = self.keep(tokens)
        changed = {m: _repadded(t) for m, t in tokens.items()}
        return differs("kept tokens", fusion(changed).values[keep], fusion(tokens).values[keep])

    def parameters(self) -> str | None:
        fusion = self.build()
        (fusion(self.tokens()).values * torch.randn(D)).square().sum().backward()
        lacking = [name for name, p in fusion.named_parameters() if p.grad is None]
        return list_names("no gradient on", lacking)

    def inputs(self) -> str | None:
        tokens = self.tokens()
        for t in tokens.values():
            t.values.requires_grad_()
        (self.build()(tokens).values * torch.randn(D)).square().sum().backward()
        lacking = [
            m for m, t in tokens.items() if t.values.grad is None or not t.values.grad.any()
        ]
        return list_names("no gradient on", lacking)

    def deterministic(self) -> str | None:
        fusion, tokens = self.build(), self.tokens()
        return differs("second output", fusion(tokens).values, fusion(tokens).values, within=0.0)

    def permutation(self) -> str | None:
        fusion, tokens = self.build(), self.tokens(padded=True)
        order = torch.tensor([2, 0, 1])
        permuted = {
            m: Tokens(
                values=t.values[order], keep=_keep(t)[order], type_embedding=t.type_embedding
            )
            for m, t in tokens.items()
        }
        keep = self.keep(tokens)[order]
        return differs(
            "permuted output",
            fusion(permuted).values[keep],
            fusion(tokens).values[order][keep],
        )

    def state(self) -> str | None:
        fusion, other, tokens = self.build(), self.build(seed=1), self.tokens()
        other.load_state_dict(fusion.state_dict())
        return differs("restored output", other(tokens).values, fusion(tokens).values, within=0.0)

    def countable(self) -> str | None:
        weighted = any(p.dim() > 1 for p in self.build().parameters())
        return "0 MACs" if weighted and self.counted() == 0 else None

    def closed_form(self) -> str | None:
        formula = getattr(self.component.build, "closed_form", None)
        if formula is None:
            return None
        lengths = {m: LENGTHS[m] for m in self.streams}
        return beyond_closed_form(self.counted() / B, formula(self.chosen, self.context, lengths))

    def counted(self) -> int:
        """Return the MACs of the whole batch."""
        fusion, tokens = self.build(), self.tokens()

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
        fusion, tokens = self.build(), self.tokens(padded=True)
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


def _repadded(tokens: Tokens) -> Tokens:
    noise = 10 * torch.randn_like(tokens.values)
    return Tokens(
        values=torch.where(_keep(tokens)[..., None], tokens.values, noise),
        keep=tokens.keep,
        type_embedding=tokens.type_embedding,
    )
