"""A short hash of the clips and captions that a figure was computed from."""

import hashlib
import json
from collections.abc import Mapping, Sequence


def clip_list_hash(captions: Mapping[str, Sequence[str]]) -> str:
    """Return a hash of a list of clips: figures with equal hashes are of the same clips.

    It covers the ids, and each clip's captions in their order. It covers neither the clips' order
    nor their media paths nor their times, which differ between cut clips and whole videos: a
    dataset's fingerprint covers those.

    Args:
        captions: id to captions or references; ids of clips, or of videos if the protocol
            scores videos.

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
