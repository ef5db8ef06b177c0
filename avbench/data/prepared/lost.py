"""Clips that are left out: why, and the ledger of those that a split or a shard leaves out."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avbench.core.options import build
from avbench.core.types import Clip, SoundState
from avbench.data.prepared.crash_guard import Outcome
from avbench.data.settings import SoundPolicy, SoundUse

log = logging.getLogger(__name__)


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


class Ledger:
    """Which clips are left out of what is written, and which of them may not be.

    Attributes:
        lost: id, reason and detail of each that is left out.
        refused: what a policy ``fail`` stops at, in words.
    """

    def __init__(self, plan: Mapping[str, Any]) -> None:
        self._root = Path(plan["root"])
        self._policy = plan["policy"]
        self._sound = build(SoundPolicy, plan["sound"])
        self.lost: list[dict[str, Any]] = []
        self.refused: list[str] = []

    def kept(self, clip: Clip, outcome: Outcome) -> bool:
        """Whether a clip is kept by what reading it came to; one that is not is noted."""
        loss = loss_of(clip, outcome, self._sound)
        if loss is None:
            return True
        # Without this machine's folders, so that indices are equal everywhere.
        detail = loss.detail.replace(f"{self._root}{os.sep}", "")
        self.lost.append({"id": clip.id, "reason": loss.reason, "detail": detail})
        log.warning("clip '%s': %s", clip.id, loss.detail)
        if loss.use == "fail" or ("lost" in outcome and self._policy == "fail"):
            self.refused.append(f"clip '{clip.id}': {loss.detail}")
        return False
