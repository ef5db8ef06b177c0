"""``avbench score``: any model's captions against references, without a suite.

How ids that differ count: a caption without a reference is an error in both protocols. A
reference without a caption is an error in the protocol ``coco``; in the protocol ``paragraph``
(ActivityNet-Captions) such a video counts as said nothing about, ``""``. The order of neither file
matters.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from avbench.captionfiles import read_hypotheses, read_references
from avbench.contracts import Metric, References
from avbench.errors import AvbenchError, DataError, unknown
from avbench.options import make
from avbench.registry import Registry
from avbench.scored import Scored, describe, write_scores
from avbench.stage import write_json

PROTOCOLS = ("coco", "paragraph")
SCORES = "scores.json"


def score_files(
    hypotheses: Sequence[Path],
    references: Path,
    protocol: str,
    registry: Registry,
    metrics: Sequence[str] = (),
    out: Path | None = None,
    further: Sequence[Path] = (),
) -> dict[str, Any]:
    """Score files of captions against references; formats: ``avbench.captionfiles``.

    Args:
        hypotheses: one file a system.
        references: one or more captions an id.
        protocol: ``coco`` or ``paragraph``; ids are videos in the latter.
        registry: the components.
        metrics: names; none: every registered metric that applies.
        out: where to write ``per_clip.csv``, ``statistics.npz`` and ``scores.json`` of the one
            system; None: nowhere.
        further: files of more references, of the same ids, as of a second annotator.

    Returns:
        ``protocol``, ``references`` (their number), ``systems``: for each file its name, the
        captions that are empty, those that the protocol takes as empty, and the scores.

    Raises:
        AvbenchError: a file is missing or malformed, ids differ, or a name is unknown.
    """
    if protocol not in PROTOCOLS:
        raise AvbenchError(f"--protocol: {unknown('protocol', protocol, PROTOCOLS)}")
    if out is not None and len(hypotheses) != 1:
        raise AvbenchError(f"--out: takes one file of hypotheses, got {len(hypotheses)}")
    components = {
        name: registry.get("metrics", name) for name in metrics or registry.names("metrics")
    }
    captions = read_references(references)
    for path in further:
        for id_, texts in read_references(path).items():
            captions[id_] = (*captions.get(id_, ()), *texts)
    given = [read_hypotheses(path) for path in hypotheses]
    absent = [
        _absent(path, said, references, captions, protocol)
        for path, said in zip(hypotheses, given, strict=True)
    ]
    systems = [{i: said.get(i, "") for i in captions} for said in given]
    gold = References(captions=captions, protocol=protocol)
    scored: list[list[Scored]] = [[] for _ in systems]
    for name, component in components.items():
        metric: Metric = make(component, {})
        try:
            for one, scores in zip(scored, metric.score(systems, gold), strict=True):
                ref = {"name": name, "options": {}}
                one.extend(Scored(score, metric, ref) for score in scores)
        finally:
            metric.close()
    results = {
        "protocol": protocol,
        "references": {"file": str(references), "ids": len(captions)},
        "systems": [
            {
                "hypotheses": str(path),
                "empty": sum(not caption.strip() for caption in said.values()),
                "without_caption": missing,
                "scores": describe(one),
            }
            for path, said, missing, one in zip(hypotheses, given, absent, scored, strict=True)
        ],
    }
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_scores(out, scored[0], {i: i for i in captions})
        write_json(out / SCORES, results)
    return results


def _absent(
    path: Path,
    said: Mapping[str, str],
    references: Path,
    captions: Mapping[str, tuple[str, ...]],
    protocol: str,
) -> int:
    """How many ids have no caption, where the protocol allows that.

    Raises:
        DataError: ids are missing or surplus.
    """
    surplus = [i for i in said if i not in captions]
    if surplus:
        raise DataError(
            f"{path}: {len(surplus)} of {len(said)} ids have no reference in {references}, the "
            f"first '{surplus[0]}'; its ids are like '{next(iter(captions))}'"
        )
    missing = [i for i in captions if i not in said]
    if missing and protocol != "paragraph":
        raise DataError(
            f"{path}: {len(missing)} of {len(captions)} ids of {references} have no caption, the "
            f"first '{missing[0]}'; where a model said nothing, give an empty caption"
        )
    return len(missing)


def print_scores(results: Mapping[str, Any]) -> None:
    """The scores for people, and how they were made."""
    from avbench.results import signature_notes
    from avbench.tables import TITLES

    made: dict[str, list[str]] = {}
    for system in results["systems"]:
        print(f"{system['hypotheses']}: {results['references']['ids']} ids")
        for score in system["scores"]:
            made.setdefault("signature", []).append(score["signature"])
            title = TITLES.get(score["name"], score["name"])
            print(f"  {title:<16} {score['value']:8.3f} {score['unit']}")
        if system["without_caption"]:
            print(f"  {system['without_caption']} ids have no caption and count as empty")
        if system["empty"]:
            print(f"  {system['empty']} captions are empty")
    for note in signature_notes(made):
        print(note)
