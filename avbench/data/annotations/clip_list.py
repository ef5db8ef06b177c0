"""A short hash that says over which clips, and against which captions, a figure was made."""

import hashlib
import json
from collections.abc import Mapping, Sequence


def clip_list_hash(captions: Mapping[str, Sequence[str]]) -> str:
    """A hash of a list of clips: two figures with equal hashes were made over the same clips.

    It covers the ids and each one's captions, in their order. It covers neither the clips' order,
    nor where their media lie, nor the times (which differ where one user has cut clips and
    another whole videos): those are in a dataset's fingerprint.

    Args:
        captions: id to captions or references; ids of clips, or of videos where a protocol
            scores these.

    Returns:
        Twelve hexadecimal digits.

    >>> one = clip_list_hash({"a": ("x",), "b": ("y", "z")})
    >>> one == clip_list_hash({"b": ["y", "z"], "a": ["x"]})
    True
    >>> one == clip_list_hash({"a": ("x",), "b": ("z", "y")})
    False
    """
    digest = hashlib.sha256()
    for id_ in sorted(captions):
        line = json.dumps([id_, *captions[id_]], ensure_ascii=False, separators=(",", ":"))
        digest.update(f"{line}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:12]
