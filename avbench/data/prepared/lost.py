"""Why a clip that was decoded, or was not, is left out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from avbench.core.settings import SoundPolicy, SoundUse
from avbench.core.types import Clip, SoundState


@dataclass(frozen=True, slots=True)
class Loss:
    """Why a clip is not kept."""

    reason: str
    """A value of ``container.Loss``, or ``sound_`` and the state of its sound."""
    detail: str
    use: SoundUse = "drop"
    """What the sound policy says; ``fail`` stops everything."""


def loss_of(clip: Clip, outcome: Mapping[str, Any], policy: SoundPolicy) -> Loss | None:
    """Why a clip is not kept, or None.

    Args:
        clip: the clip.
        outcome: ``{"lost": reason, "detail": …}``, or ``{"entry": {"sound": state, …}}``.
        policy: what becomes of a clip without sound.
    """
    if "lost" in outcome:
        return Loss(outcome["lost"], f"cannot be decoded: {outcome['detail']}")
    state = SoundState(outcome["entry"]["sound"])
    if state is SoundState.PRESENT:
        return None
    use: SoundUse = getattr(policy, state.value)
    if use == "use":
        return None
    return Loss(f"sound_{state.value}", f"{clip.media}: its sound is {state.value}", use)
