"""A pretended device: tensors that say they are elsewhere and compute on the CPU.

They say they are on the meta device, which needs no hardware. Real meta tensors hold no values, so
a network that reads one (``item``, ``if mask.all()``) cannot run with them. These have values; and
as on an accelerator, an operator refuses tensors of two devices.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

DEVICE = torch.device("meta")
"""The device that tensors say they are on."""

_MIXING = frozenset(("copy_", "_to_copy", "index", "index_put", "index_put_", "_index_put_impl_"))
"""Operators that take tensors of two devices: copies, and those that take indices from the CPU."""


class MixedDevicesError(RuntimeError):
    """An operator was given tensors of two devices."""


class _Away(Tensor):
    """A tensor on the pretended device; ``held`` has its values on the CPU."""

    held: Tensor
    _is_param: bool

    @staticmethod
    def __new__(cls: type["_Away"], inner: Tensor) -> "_Away":
        make: Any = Tensor._make_wrapper_subclass
        made: _Away = make(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
        )
        made.held = inner
        return made

    __torch_function__: Any = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch names no classmethod
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        del types
        return _run(func, args, kwargs or {})


class _Factories(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Puts on the pretended device what factories are asked to make there."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: the default imports torch's compiler, which takes seconds."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        return _run(func, args, kwargs or {})


class _Values(TorchFunctionMode):
    """Gives values to tensors made of Python's numbers, and numbers to those who ask for them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = dict(kwargs or {})
        if func is Tensor.tolist:
            return home(args[0]).tolist()
        asked = kwargs.get("device")
        made_here = func in (torch.tensor, torch.as_tensor) and asked is not None
        if made_here and torch.device(asked) == DEVICE:
            return func(*args, **kwargs | {"device": "cpu"}).to(DEVICE)
        return func(*args, **kwargs)


@contextmanager
def pretended() -> Iterator[None]:
    """Within it, tensors can be made on ``DEVICE`` and moved to it; without gradients."""
    asked, autocast = torch.is_autocast_enabled, torch.autocast

    def enabled(device: str | None = None) -> bool:
        return device != DEVICE.type and (asked() if device is None else asked(device))

    def cast(device: str, *args: Any, **kwargs: Any) -> Any:
        return nullcontext() if device == DEVICE.type else autocast(device, *args, **kwargs)

    with (
        torch.no_grad(),
        patch.object(torch, "is_autocast_enabled", enabled),
        patch.object(torch, "autocast", cast),
        _Factories(),  # type: ignore[no-untyped-call]
        _Values(),
    ):
        yield


def away(value: Tensor) -> Tensor:
    """Return a copy of a tensor on the pretended device; that of a parameter passes for one."""
    copied = _Away(value.detach().clone())
    copied._is_param = isinstance(value, nn.Parameter)
    return copied


def send(network: nn.Module) -> nn.Module:
    """Move a network's parameters and buffers to the pretended device, as plain tensors."""
    for module in list(network.modules()):
        for name, value in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            setattr(module, name, away(value))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, away(buffer))
    return network


def home(value: Any) -> Any:
    """Return a tensor's values on the CPU, and anything else unchanged."""
    return value.held if isinstance(value, _Away) else value


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operator on the CPU, and return its result on the device where it belongs.

    Raises:
        MixedDevicesError: it is given tensors of two devices; scalars may be anywhere.
    """
    name = func._schema.name.removeprefix("aten::")
    if name == "_fused_sdp_choice":
        return 0  # attention by plain operators, which every device has
    given = [x for x in tree_iter((args, kwargs)) if isinstance(x, Tensor)]
    goes = any(isinstance(x, _Away) for x in given)
    if goes and name not in _MIXING:
        for x in given:
            if not isinstance(x, _Away) and x.dim():
                raise MixedDevicesError(
                    f"'{name}' takes a tensor {tuple(x.shape)} on the {x.device.type}, and "
                    "another on the device of the inputs"
                )
    asked = kwargs.get("device")
    if asked is not None:
        goes = torch.device(asked) == DEVICE
        if goes:
            kwargs = {**kwargs, "device": torch.device("cpu")}
    inner_args, inner_kwargs = tree_map(home, (args, kwargs))
    result = func(*inner_args, **inner_kwargs)
    if func._schema.is_mutable and isinstance(result, Tensor):
        return next(x for x in given if home(x) is result)
    return tree_map(_wrapped, result) if goes else result


def _wrapped(value: Any) -> Any:
    return _Away(value) if isinstance(value, Tensor) else value
