"""Lost clips: those that a prepared split or a shard leaves out, each with its reason.

A clip is lost where a defect of its annotations costs it, where it cannot be decoded, or where
the dataset's sound policy drops it. The policy ``fail`` makes such clips an error.
"""

import json
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from avbench.core.errors import DataError
from avbench.core.job import as_written, read_json_lines
from avbench.core.options import build
from avbench.core.types import Clip, SoundState
from avbench.data.annotations.local_files import missing_hint
from avbench.data.contracts import Defect
from avbench.data.media.container import LostReason
from avbench.data.settings import SoundPolicy, SoundUse

LOST = "lost.jsonl"
"""File of a split's lost clips: one JSON object a line, with the fields of ``LostClip``."""

ClipResult = dict[str, Any]
"""Result of decoding a clip: ``{"lost": reason, "detail": …}``, or ``{"entry": {"sound": state,
"notes": [], …}, …}``."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class LostClip:
    """A clip that is left out."""

    id: str
    reason: str
    """A value of ``media.container.LostReason``, a ``Defect``'s reason, or ``sound_`` and the
    state of the sound that the dataset's policy drops."""
    detail: str

    @classmethod
    def of_defect(cls, defect: Defect) -> "LostClip":
        """Return the clip that a defect of the annotations costs."""
        detail = f"{defect.place}: {defect.problem}"
        return cls(id=str(defect.clip), reason=defect.reason, detail=detail)

    def plain(self) -> dict[str, str]:
        """Return the fields as plain data."""
        return {"id": self.id, "reason": self.reason, "detail": self.detail}

    def line(self) -> str:
        """Return a line of ``lost.jsonl``."""
        return json.dumps(self.plain()) + "\n"


def read_lost(path: Path) -> Iterator[LostClip]:
    """Yield the clips of a ``lost.jsonl``.

    Raises:
        DataError: it is damaged.
    """
    for data in read_json_lines(path):
        with as_written(path):
            clip = build(LostClip, data)
        yield clip


def lost_clip(clip: Clip, result: ClipResult, sound: SoundPolicy) -> LostClip | None:
    """Return a clip as lost if decoding or the sound policy says so, else None."""
    if "lost" in result:
        detail = f"cannot be decoded: {result['detail']}"
        if result["lost"] == LostReason.MISSING:
            detail += missing_hint(clip.media)
        return LostClip(id=clip.id, reason=result["lost"], detail=detail)
    if _sound_use(result, sound) == "use":
        return None
    state = result["entry"]["sound"]
    return LostClip(
        id=clip.id, reason=f"sound_{state}", detail=f"{clip.media}: its sound is {state}"
    )


def _sound_use(result: ClipResult, sound: SoundPolicy) -> SoundUse:
    """Return the policy's use of a clip that was decoded."""
    state = SoundState(result["entry"]["sound"])
    if state is SoundState.PRESENT:
        return "use"
    use: SoundUse = getattr(sound, state.value)
    return use


def count_reasons(lost: Iterable[LostClip]) -> dict[str, int]:
    """Count lost clips by reason, sorted by name."""
    return dict(sorted(Counter(clip.reason for clip in lost).items()))


class LostClips:
    """Collects the lost clips of a split or a shard, and those that its policies refuse.

    Attributes:
        lost: the clips left out so far.

    Args:
        policy: ``fail`` refuses clips that cannot be decoded.
        sound: use of clips without sound.
        root: folder that details leave out of paths, so that files are equal on all machines;
            None: paths stay whole.
    """

    def __init__(
        self, policy: Literal["skip", "fail"], sound: SoundPolicy, *, root: Path | None = None
    ) -> None:
        self.lost: list[LostClip] = []
        self._policy = policy
        self._sound = sound
        self._prefix = "" if root is None else f"{root}{os.sep}"
        self._refused: list[str] = []

    def keep(self, clip: Clip, result: ClipResult) -> bool:
        """Return True if a clip is kept; else collect and log it."""
        found = lost_clip(clip, result, self._sound)
        if found is None:
            return True
        log.warning("clip '%s': %s", clip.id, found.detail)
        policy = self._policy if "lost" in result else _sound_use(result, self._sound)
        if policy == "fail":
            self._refused.append(f"clip '{clip.id}': {found.detail}")
        detail = found.detail.replace(self._prefix, "") if self._prefix else found.detail
        self.lost.append(LostClip(id=clip.id, reason=found.reason, detail=detail))
        return False

    def check(self, where: str, clips: str) -> None:
        """Raise an error if a policy ``fail`` refuses a clip.

        Args:
            where: dataset and split.
            clips: number and kind of the clips looked at, for the message.

        Raises:
            DataError: names each refused clip.
        """
        if self._refused:
            listed = "".join(f"\n  {line}" for line in self._refused)
            raise DataError(
                f"{where}: {len(self._refused)} of {clips} cannot be used "
                f"(policy 'fail'; 'skip', or 'drop' for sound, leaves such clips out):{listed}"
            )
