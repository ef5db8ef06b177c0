"""What the encoders of a suite's rows started from, as a note under its tables."""

from collections import defaultdict
from collections.abc import Iterable


def started_notes(found: Iterable[tuple[str, str, str]]) -> list[str]:
    """One note, or none; where rows differ it names them.

    Args:
        found: row, modality, and what its encoder started from.

    >>> started_notes([("a", "video", "k.pth"), ("b", "video", "k.pth"), ("a", "audio", "none")])
    ['Encoders started from: audio: none; video: k.pth.']
    >>> started_notes([("a", "video", "k.pth"), ("b", "video", "scratch")])
    ['Encoders started from: video: k.pth (a), scratch (b).']
    """
    rows: dict[str, dict[str, dict[str, None]]] = defaultdict(lambda: defaultdict(dict))
    for row, modality, text in found:
        rows[modality][text][row] = None
    parts = []
    for modality, texts in sorted(rows.items()):
        told = [
            f"{text} ({', '.join(labels)})" if len(texts) > 1 else text
            for text, labels in texts.items()
        ]
        parts.append(f"{modality}: {', '.join(told)}")
    return [f"Encoders started from: {'; '.join(parts)}."] if parts else []
