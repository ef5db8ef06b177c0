"""Fully sharded training (FSDP2): each process holds a part of every weight.

Checkpoints and weights are written whole, as without sharding. A training may resume on another
number of processes, sharded or not.

Source: PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel (Zhao et al., 2023);
``torch.distributed.fsdp.fully_shard``.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from packaging.version import Version
from torch import Tensor, nn

from avbench.core.errors import AvbenchError
from avbench.models.captioner import Captioner

NEEDED = "2.14"
"""Earlier versions miss tensors within dataclasses, which encoders and fusions return."""


def fabric_strategy(processes: int) -> Any:
    """Return Fabric's strategy that shards the module set up with it.

    Raises:
        AvbenchError: the installed PyTorch is too old.
    """
    from lightning_fabric import strategies

    if Version(torch.__version__) < Version(NEEDED):
        raise AvbenchError(
            f"--strategy fsdp: needs torch {NEEDED} or later, got {torch.__version__}"
        )
    # Its lazy exports are not visible to a type checker.
    untyped: Any = strategies
    return untyped.ModelParallelStrategy(
        _shard, data_parallel_size=processes, tensor_parallel_size=1
    )


def _shard(module: nn.Module, mesh: Any) -> nn.Module:
    """Shard each encoder and the fusion by itself, the rest together.

    Only one of them is whole at a time in the forward pass. These are the plugins that a
    captioner calls as modules.
    """
    from torch.distributed.fsdp import fully_shard

    along = mesh["data_parallel"]
    for captioner in [m for m in module.modules() if isinstance(m, Captioner)]:
        for unit in (*captioner.encoders.values(), captioner.fusion):
            if any(True for _ in unit.parameters()):
                fully_shard(unit, mesh=along)
    fully_shard(module, mesh=along)
    return module


@contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """Make every weight whole in every process, so that each computes alone, without gradients.

    Called by all processes.
    """
    from torch.distributed.fsdp import FSDPModule

    units = [m for m in module.modules() if isinstance(m, FSDPModule)]
    for unit in units:
        unit.set_reshard_after_forward(False, recurse=False)
        unit.unshard()
    try:
        yield
    finally:
        for unit in units:
            unit.reshard()
            unit.set_reshard_after_forward(unit is not module, recurse=False)


def whole(value: Any, *, keep: bool) -> Any:
    """Return plain data with its sharded tensors made whole, in CPU memory.

    Called by all processes with the same structure.

    Args:
        value: tensors in mappings, lists and tuples.
        keep: True if this process needs them; the others drop each one at once.
    """
    from torch.distributed.tensor import DTensor

    if isinstance(value, Mapping):
        return {k: whole(v, keep=keep) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(whole(v, keep=keep) for v in value)
    if isinstance(value, DTensor):
        full: Tensor = value.full_tensor()
        return full.cpu() if keep else None
    return value


def like(value: Any, example: Tensor) -> Any:
    """Shard a whole tensor as an example of its shape is; return anything else unchanged."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(example, DTensor) or not isinstance(value, Tensor):
        return value
    if value.shape != example.shape:
        return value
    # All processes have read the same file, so nothing is sent.
    return distribute_tensor(
        value.to(example.device), example.device_mesh, example.placements, src_data_rank=None
    )


def optimiser_state(optimiser: Any, state: Mapping[str, Any]) -> dict[str, Any]:
    """Shard an optimiser's whole state as its parameters are."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    shared = {
        i: {name: like(value, parameters[i]) for name, value in of_parameter.items()}
        for i, of_parameter in state["state"].items()
    }
    return {**state, "state": shared}
