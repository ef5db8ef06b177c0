"""The optional file ``evidence.json`` of a dataset: known facts that a clip's caption states.

    {clip id: {slot: {"value": word, "choices": [word, …], "evidence": [modality, …]}}}

Any dataset may have one in its root; the embedded world writes it. Ids of other splits are fine.
"""

from collections.abc import Mapping
from pathlib import Path

from avbench.core.types import Slot
from avbench.data.annotations.strict_json import Node, open_json

FILE = "evidence.json"


def read_evidence(root: Path) -> Mapping[str, Mapping[str, Slot]]:
    """The slots of each clip; empty where there is no file.

    Raises:
        DataError: the file is malformed.
    """
    if not (root / FILE).exists():
        return {}
    return {
        clip: {name: _slot(slot) for name, slot in slots.fields()}
        for clip, slots in open_json(root / FILE).fields()
    }


def _slot(node: Node) -> Slot:
    choices = tuple(choice.text() for choice in node["choices"].items())
    return Slot(
        value=node["value"].choice(choices),
        choices=choices,
        evidence=frozenset(m.text() for m in node["evidence"].items()),
    )
