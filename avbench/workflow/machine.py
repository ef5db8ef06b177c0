"""Settings of a run that change no result: processes, device, checkpoints."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from avbench.core.errors import AvbenchError, unknown
from avbench.core.numbers import Number
from avbench.training.settings import STEPS

PROCESSES = Number(unit="processes", least=1, most=10_000)
THREADS = Number(unit="threads", least=1, most=10_000)
WORKERS = Number(unit="workers", least=0, most=10_000)
MINUTES = Number(unit="minutes", least=0, most=1_000_000)
CHECKPOINTS = Number(unit="checkpoints", least=1, most=10_000)

Strategy = Literal["ddp", "fsdp"]

BOUNDS = {
    "jobs": PROCESSES,
    "threads": THREADS,
    "processes": PROCESSES,
    "workers": WORKERS,
    "checkpoint_minutes": MINUTES,
    "checkpoint_steps": STEPS,
    "checkpoint_keep": CHECKPOINTS,
}
"""Name of a field of ``Machine`` → its bounds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """The use that a run makes of its machine.

    Raises:
        AvbenchError: a number is out of its range, or the strategy is unknown.
    """

    jobs: int | None = None
    """Processes at once; None: one per core."""
    threads: int = 1
    """Threads per process; rounding may depend on them."""
    device: str = "auto"
    """``cpu``, ``cuda``, or ``auto``."""
    processes: int = 1
    """Processes that share each training, one per device."""
    strategy: Strategy = "ddp"
    """Each process holds the whole model (``ddp``) or a part of it (``fsdp``)."""
    workers: int = 0
    """Data-loading workers per training process."""
    checkpoint_minutes: float = 0.5
    """Minutes between a training's checkpoints."""
    checkpoint_steps: int | None = None
    """Steps between further checkpoints; None: none."""
    checkpoint_keep: int = 2
    """Checkpoints to keep."""
    tensorboard: bool = False
    """Also write TensorBoard files of trainings, beside ``curve.csv``."""

    def __post_init__(self) -> None:
        faults = []
        for field in fields(self):
            value, bounds = getattr(self, field.name), BOUNDS.get(field.name)
            if bounds is not None and value is not None:
                fault = bounds.fault(value)
                faults += [f"{field.name}: {fault}"] if fault else []
        if self.strategy not in get_args(Strategy):
            faults.append(f"strategy: {unknown('strategy', self.strategy, get_args(Strategy))}")
        if faults:
            raise AvbenchError("\n".join(faults))

    def local(self, plugins_dir: Path | None) -> dict[str, Any]:
        """Return the settings of stages that change no result, see ``runner.plan.Stage.local``.

        Args:
            plugins_dir: a folder of plugins; None: ``./plugins`` if there is one.
        """
        folder = plugins_dir or Path("plugins")
        return {
            "device": self.device,
            "plugins_dir": str(folder.resolve()) if folder.is_dir() else None,
            "checkpoint_seconds": 60 * self.checkpoint_minutes,
            "checkpoint_steps": self.checkpoint_steps,
            "checkpoint_keep": self.checkpoint_keep,
            "tensorboard": self.tensorboard,
            "strategy": self.strategy,
            "workers": self.workers,
        }
