"""What is left out while clips are written: noted for each, with its reason."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avbench.core.options import build
from avbench.core.settings import SoundPolicy
from avbench.core.types import Clip
from avbench.data.prepared.crash_guard import Outcome
from avbench.data.prepared.lost import loss_of

log = logging.getLogger(__name__)


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
