"""Devices and processes: runs a training on one process or several, through Lightning Fabric.

Several processes are started from outside, as torchrun does; each reads its rank from the
environment. A step's results, such as its losses, are the same in all of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from avbench.core.environment import whole_number
from avbench.core.errors import AvbenchError
from avbench.core.types import Batch, View, ViewLoss
from avbench.data.dataset import derive_seed
from avbench.data.tokenizer import PAD
from avbench.models.captioner import Captioner
from avbench.training import checkpoint, fsdp

Parallelism = Literal["ddp", "fsdp"]

Weigh = Callable[[Mapping[View, ViewLoss]], Tensor]
"""Combines the losses of the views into one objective."""


class Pass(nn.Module):
    """The forward pass of one process, as plain tensors, which Fabric can track."""

    def __init__(self, captioner: Captioner) -> None:
        super().__init__()
        self.captioner = captioner

    def forward(
        self, batch: Batch, views: Sequence[View], per: float, measured: Sequence[View]
    ) -> tuple[Tensor, Tensor]:
        """Return nats and token probabilities of ``views``, then of ``measured``."""
        losses = list(self.captioner(batch, views, per=per, measured=measured).values())
        return (
            torch.stack([loss.nats for loss in losses]),
            torch.stack([loss.token_probability for loss in losses]),
        )


class Engine:
    """Devices and processes of a training.

    Args:
        device: of this process.
        tracked: a folder for TensorBoard's files; None: none. Resuming appends to it.
        strategy: for several processes: each holds all weights, gradients and moments (ddp), or
            each holds a part of them (fsdp). The results are the same.

    Attributes:
        fully_sharded: True if each process holds a part of every weight.

    Raises:
        AvbenchError: TensorBoard is wanted and not installed, or PyTorch is too old for fsdp.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        tracked: Path | None = None,
        strategy: Parallelism = "ddp",
    ) -> None:
        from lightning_fabric import Fabric

        local = whole_number("LOCAL_WORLD_SIZE", 1)
        processes = whole_number("WORLD_SIZE", 1)
        self.fully_sharded = processes > 1 and strategy == "fsdp"
        several = fsdp.fabric_strategy(processes) if self.fully_sharded else "ddp"
        self._module: nn.Module | None = None
        self.fabric: Any = Fabric(
            accelerator=device.type,
            # A device's number counts only for a process that has the training to itself.
            devices=[device.index] if processes == 1 and device.index is not None else local,
            num_nodes=whole_number("GROUP_WORLD_SIZE", 1),
            strategy=several if processes > 1 else "auto",
            loggers=[] if tracked is None else [_tensorboard(tracked)],
        )
        self.fabric.launch()

    @property
    def rank(self) -> int:
        """The number of this process, from 0; only 0 writes files."""
        rank: int = self.fabric.global_rank
        return rank

    @property
    def world(self) -> int:
        """The number of processes."""
        world: int = self.fabric.world_size
        return world

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        device: torch.device = self.fabric.device
        return device

    def set_up(
        self, captioner: Captioner, optimiser: Callable[[Captioner], torch.optim.Optimizer]
    ) -> tuple[nn.Module, Any]:
        """Prepare a captioner and its optimiser for ``backward``.

        Args:
            captioner: the captioner to train; its weights are sharded if processes hold parts.
            optimiser: makes the optimiser of the captioner's parameters, after sharding.
        """
        if self.fully_sharded:
            sharded = Pass(captioner)
            module: nn.Module = self.fabric.setup_module(sharded)
            self._module = sharded
            return module, self.fabric.setup_optimizers(optimiser(captioner))
        module, ready = self.fabric.setup(Pass(captioner), optimiser(captioner))
        return module, ready

    def backward(
        self,
        module: nn.Module,
        parts: Sequence[Batch],
        views: Sequence[View],
        weigh: Weigh,
        *,
        measured: Sequence[View] = (),
        observe: Callable[[Mapping[View, ViewLoss]], object] = lambda _: None,
    ) -> dict[View, ViewLoss]:
        """Accumulate the gradients of a step.

        Args:
            module: from ``set_up``.
            parts: the micro-batches of this process.
            views: the losses to train.
            weigh: called for each micro-batch, with this process's share of the losses.
            measured: further losses, without gradients.
            observe: called once, with the losses of the whole step: before they are weighed if
                there is one micro-batch, after the last of several.

        Returns:
            The losses of the whole step, over all processes and micro-batches, without gradients.
        """
        tokens = self.sum(sum(int((part.captions[:, 1:] != PAD).sum()) for part in parts))
        # Gradients are averaged over processes and summed over micro-batches.
        per = tokens / self.world
        every = [*views, *measured]
        total = torch.zeros(2, len(every), device=self.device)
        whole: dict[View, ViewLoss] = {}
        for i, part in enumerate(parts):
            last = i + 1 == len(parts)
            with self.fabric.no_backward_sync(module, enabled=not last):
                nats, probabilities = module(part, views, per, measured)
                total += torch.stack([nats.detach(), probabilities])
                if last:
                    means = self.mean(total)
                    whole = _losses(every, means[0], means[1], tokens)
                if len(parts) == 1:
                    observe(whole)
                n = len(views)
                self.fabric.backward(weigh(_losses(views, nats[:n], probabilities[:n], tokens)))
        if len(parts) > 1:
            observe(whole)
        return whole

    def mean(self, value: Tensor) -> Tensor:
        """Return a tensor's mean over the processes."""
        if self.world == 1:
            return value
        reduced: Tensor = self.fabric.all_reduce(value, reduce_op="mean")
        return reduced

    def sum(self, value: int) -> int:
        """Return a count's sum over the processes."""
        if self.world == 1:
            return value
        given = torch.tensor(value, device=self.device)
        return int(self.fabric.all_reduce(given, reduce_op="sum"))

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, by rank."""
        if self.world == 1:
            return [value]
        found: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(found, value)
        return found

    def agree(self, *flags: bool) -> tuple[bool, ...]:
        """Return each flag, True in all processes if it is in any."""
        if self.world == 1:
            return flags
        given = torch.tensor(flags, dtype=torch.float32, device=self.device)
        return tuple(bool(x) for x in self.fabric.all_reduce(given, reduce_op="sum"))

    def track(self, step: int, figures: Mapping[str, float]) -> None:
        """Log a step's figures to TensorBoard too, if it is used."""
        if self.fabric.loggers:
            self.fabric.log_dict(figures, step)

    def tensors(self, captioner: Captioner) -> dict[str, Tensor]:
        """Return a captioner's whole weights by name, in the first process; all must call it."""
        whole: dict[str, Tensor] = self._whole(captioner.state_dict())
        return whole

    def gathered(self) -> AbstractContextManager[None]:
        """Within it every process can run the trained captioner independently of the others."""
        if self._module is None:
            return nullcontext()
        return fsdp.gathered(self._module)

    def norm(self, parameters: Sequence[nn.Parameter]) -> float:
        """Return the norm of the gradients of parameters; called by all processes."""
        grads = [p.grad for p in parameters if p.grad is not None]
        return float(self._whole(torch.nn.utils.get_total_norm(grads), everywhere=True))

    def _whole(self, value: Any, *, everywhere: bool = False) -> Any:
        if not self.fully_sharded:
            return value
        return fsdp.whole(value, keep=everywhere or self.rank == 0)

    @contextmanager
    def alike(self, *seed: object) -> Iterator[None]:
        """Within it all processes draw alike, by a seed; a single process draws as usual."""
        if self.world == 1:
            yield
            return
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(derive_seed(*seed))
            yield

    def random_states(self) -> list[dict[str, Tensor]]:
        """Return the states of the random generators of every process, by rank."""
        mine = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            mine["cuda"] = torch.cuda.get_rng_state(self.device)
        return self.gather(mine)

    def restore_random(self, states: Sequence[Mapping[str, Tensor]]) -> None:
        """Restore the generators of this process; a rank without a saved state keeps its own."""
        if self.rank < len(states):
            torch.set_rng_state(states[self.rank]["cpu"])
            if self.device.type == "cuda" and "cuda" in states[self.rank]:
                torch.cuda.set_rng_state(states[self.rank]["cuda"], self.device)

    def save(self, directory: Path, step: int, state: Mapping[str, Any], keep: int) -> None:
        """Write a checkpoint of a stage; called by all processes.

        Args:
            directory: the stage's folder.
            step: the number of finished steps.
            state: plain data, and modules and optimisers, whose state is written.
            keep: the number of newest checkpoints to keep.
        """
        plain = {
            name: self._whole(value.state_dict() if hasattr(value, "state_dict") else value)
            for name, value in state.items()
        }
        if self.rank == 0:
            checkpoint.save(plain, directory, step, keep)
        self.fabric.barrier()

    def load(self, directory: Path, into: Mapping[str, Any]) -> dict[str, Any] | None:
        """Restore modules and optimisers from a stage's newest undamaged checkpoint.

        Args:
            directory: the stage's folder.
            into: modules and optimisers by their names in the state.

        Returns:
            The other entries of its state; None: there is no checkpoint.
        """
        state = checkpoint.load(directory)
        if state is None:
            return None
        for name, target in into.items():
            found = state.pop(name)
            if self.fully_sharded and isinstance(target, nn.Module):
                own = target.state_dict()
                found = {k: fsdp.like(v, own[k]) for k, v in found.items()}
            elif self.fully_sharded:
                found = fsdp.optimiser_state(target, found)
            target.load_state_dict(found)
        return state

    def clip(self, module: nn.Module, optimiser: Any, norm: float) -> float:
        """Clip the gradients to a norm; return the norm before."""
        if self.fully_sharded:
            total = torch.nn.utils.clip_grad_norm_(module.parameters(), norm)
            return float(self._whole(total, everywhere=True))
        before = self.fabric.clip_gradients(
            module, optimiser, max_norm=norm, error_if_nonfinite=False
        )
        return float(before)


def _losses(
    views: Sequence[View], nats: Tensor, probabilities: Tensor, tokens: int
) -> dict[View, ViewLoss]:
    """Return the losses by view, from tensors with one entry per view."""
    return {
        view: ViewLoss(nats=n, token_probability=p, tokens=tokens)
        for view, n, p in zip(views, nats, probabilities, strict=True)
    }


def _tensorboard(folder: Path) -> Any:
    from lightning_fabric import loggers

    # Its lazy exports are not visible to a type checker.
    logger: Any = loggers
    try:
        return logger.TensorBoardLogger(root_dir=folder, name="", version="")
    except ModuleNotFoundError as error:
        raise AvbenchError(
            "tracking: the package tensorboard is not installed; "
            "pip install 'avbench[tensorboard]', or leave out --tensorboard"
        ) from error
