"""How long stages take."""

from dataclasses import dataclass, field

from avbench.runner.stage_kinds import KINDS


@dataclass(slots=True)
class Estimate:
    """How long stages take, learnt from those that are done."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, kind: str, seconds: float) -> None:
        """Note a measurement."""
        self.seconds.setdefault(kind, []).append(seconds)

    def of(self, kind: str) -> float:
        """Seconds for a stage of a kind: the mean of those seen, else by the kinds' weights."""
        if kind in self.seconds:
            return sum(self.seconds[kind]) / len(self.seconds[kind])
        seen = [(sum(v), KINDS[k].weight * len(v)) for k, v in self.seconds.items()]
        scale = sum(s for s, _ in seen) / sum(w for _, w in seen) if seen else 1.0
        return KINDS[kind].weight * scale
