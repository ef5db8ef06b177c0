"""Loading of weights from local files: tensors only, and all of them or none."""

from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from avbench.api import DataError

SHOWN = 8
"""Names listed for each kind of mismatch, at most."""


def read_state(path: str) -> dict[str, Tensor]:
    """Read a state dict: safetensors, or a torch file that holds nothing but tensors.

    Args:
        path: ``*.safetensors``, or a file of ``torch.save``, in which the state dict may lie
            under the key ``state_dict`` or ``model``.

    Raises:
        DataError: the file is missing, is not such a file, or would run code when loaded.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError(f"weights: no file {file}")
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError, OSError, KeyError) as error:
        raise DataError(
            f"weights: {file} does not load as plain tensors: {reason(error)}"
        ) from error
    except Exception as error:
        # safetensors raises its own exception class, which has no public name.
        if type(error).__name__ != "SafetensorError":
            raise
        raise DataError(f"weights: {file} is no safetensors file: {error}") from error
    for key in ("state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not all(isinstance(t, Tensor) for t in loaded.values()):
        raise DataError(f"weights: {file} holds no state dict (names to tensors)")
    return {str(name): tensor for name, tensor in loaded.items()}


def reason(error: Exception) -> str:
    """Return the reason why weights did not load, without PyTorch's advice to load them as code.

    timm passes pickle's exception on as a cause.
    """
    cause = error.__cause__ if isinstance(error.__cause__, UnpicklingError) else error
    if isinstance(cause, UnpicklingError):
        message = str(cause).partition("WeightsUnpickler error:")[2].strip().partition("\n")[0]
        message = message.partition(" Please use")[0] or type(cause).__name__
        return f"it does not hold plain tensors alone: {message}"
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def load_strictly(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    where: str,
    ignore: Callable[[str], bool] = lambda _: False,
    named: Callable[[str], str] = lambda name: name,
) -> None:
    """Load a state dict whose tensors must match the module's in name and shape.

    Args:
        module: receives the tensors.
        state: names to tensors.
        where: origin of the tensors for errors, usually the file.
        ignore: returns True for surplus names to leave out, e.g. a class head.
        named: returns the file's name of a module's tensor; errors use the file's names.

    Raises:
        DataError: tensors are missing, surplus or mis-shaped; then nothing is loaded.
    """
    wanted = {named(name): tensor for name, tensor in module.state_dict().items()}
    missing = sorted(wanted.keys() - state.keys())
    surplus = sorted(name for name in state.keys() - wanted.keys() if not ignore(name))
    misshaped = [
        f"{name} (got {tuple(state[name].shape)}, wanted {tuple(wanted[name].shape)})"
        for name in sorted(wanted.keys() & state.keys())
        if state[name].shape != wanted[name].shape
    ]
    problems = {"missing": missing, "surplus": surplus, "mis-shaped": misshaped}
    listed = [f"{kind}: {_shorten(names)}" for kind, names in problems.items() if names]
    if listed:
        raise DataError(
            f"weights: {where} does not fit {type(module).__name__}; {'; '.join(listed)}"
        )
    module.load_state_dict({name: state[named(name)] for name in module.state_dict()})


def _shorten(names: list[str]) -> str:
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + rest
