"""``avbench score``: scores any model's captions against references, without a suite.

A caption without a reference is an error in both protocols. A reference without a caption is an
error in the protocol ``coco``; the protocol ``paragraph`` (ActivityNet-Captions) scores such a
video with an empty caption. The order of the ids does not matter in either file. The order of one
id's references is part of the signature, since METEOR depends on it
(``avbench.builtin.metrics.coco_caption``).
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from avbench.cli.commands.common import say
from avbench.core.errors import AvbenchError, DataError, unknown
from avbench.core.job import write_json
from avbench.core.options import make
from avbench.core.registry import Registry
from avbench.evaluation.caption_files import read_hypotheses, read_references
from avbench.evaluation.contracts import Metric, References, Score
from avbench.evaluation.score import Scored, describe, write_scores

PROTOCOLS = ("coco", "paragraph")
SCORES = "scores.json"


def score_files(
    hypotheses: Sequence[Path],
    references: Sequence[Path],
    protocol: str,
    registry: Registry,
    metrics: Sequence[str] = (),
    out: Path | None = None,
    compare: bool = False,
) -> dict[str, Any]:
    """Score files of captions against references; formats: ``avbench.evaluation.caption_files``.

    Args:
        hypotheses: one file per system.
        references: files with one or more captions per id; several files, e.g. of several
            annotators, are joined.
        protocol: ``coco`` or ``paragraph``; ids are videos in the latter.
        registry: the components.
        metrics: names of metrics; empty: every registered metric that applies.
        out: a folder for ``per_clip.csv``, ``statistics.npz`` and ``scores.json`` of a single
            system; None: write nothing.
        compare: True: test each file but the first against the first.

    Returns:
        ``protocol``; ``references``: their file and number; ``systems``: for each file its name,
        the number of empty captions, of missing ones that the protocol takes as empty, and the
        scores; with ``compare`` also ``comparisons``, see ``avbench.evaluation.compare``.

    Raises:
        AvbenchError: a file is missing or malformed, ids differ, or a name is unknown.
    """
    if protocol not in PROTOCOLS:
        raise AvbenchError(f"--protocol: {unknown('protocol', protocol, PROTOCOLS)}")
    if out is not None and len(hypotheses) != 1:
        raise AvbenchError(f"--out: takes one file of hypotheses, got {len(hypotheses)}")
    if compare and len(hypotheses) < 2:
        raise AvbenchError(
            f"--compare: needs two or more files of hypotheses, got {len(hypotheses)}"
        )
    components = {
        name: registry.get("metrics", name) for name in metrics or registry.names("metrics")
    }
    captions: dict[str, tuple[str, ...]] = {}
    for path in references:
        for id_, texts in read_references(path).items():
            captions[id_] = (*captions.get(id_, ()), *texts)
    against = ", ".join(map(str, references))
    given = [read_hypotheses(path) for path in hypotheses]
    absent = [
        _absent(path, said, against, captions, protocol)
        for path, said in zip(hypotheses, given, strict=True)
    ]
    systems = [{i: said.get(i, "") for i in captions} for said in given]
    gold = References(captions=captions, protocol=protocol)
    scored: list[list[Scored]] = [[] for _ in systems]
    for name, component in components.items():
        metric: Metric = make(component, {})
        try:
            made = _scores(metric, systems, gold, [f"{p} against {against}" for p in hypotheses])
            for one, scores in zip(scored, made, strict=True):
                ref = {"name": name, "options": {}}
                one.extend(Scored(score, metric, ref) for score in scores)
        finally:
            metric.close()
    results: dict[str, Any] = {
        "protocol": protocol,
        "references": {"file": against, "ids": len(captions)},
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
    if compare:
        results["comparisons"] = list(_compared(hypotheses, scored))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_scores(out, scored[0], {i: i for i in captions})
        write_json(out / SCORES, results)
    return results


def _compared(
    files: Sequence[Path], scored: Sequence[Sequence[Scored]]
) -> Iterator[dict[str, Any]]:
    """Yield the tests of all systems against the first, as plain data."""
    from avbench.evaluation.compare import against_first

    for one in against_first(scored):
        yield {
            "hypotheses": str(files[one.system]),
            "to": str(files[0]),
            "score": one.score,
            **one.estimate.plain(),
            "p_corrected": one.corrected,
            "p_exchanged": one.exchanged,
            "p_exchanged_corrected": one.exchanged_corrected,
        }


def _scores(
    metric: Metric, systems: Sequence[Mapping[str, str]], gold: References, files: Sequence[str]
) -> Sequence[Sequence[Score]]:
    """Score all systems together.

    Raises:
        AvbenchError: a system cannot be scored; the message names its file.
    """
    try:
        return metric.score(systems, gold)
    except AvbenchError as error:
        if len(systems) == 1:
            raise AvbenchError(f"{files[0]}: {error}") from error
    # Score each alone to find the faulty one; the references are prepared already.
    return [
        _scores(metric, [system], gold, [file])[0]
        for system, file in zip(systems, files, strict=True)
    ]


def _absent(
    path: Path,
    said: Mapping[str, str],
    references: str,
    captions: Mapping[str, tuple[str, ...]],
    protocol: str,
) -> int:
    """Return the number of ids without a caption.

    Raises:
        DataError: ids have no reference, or no caption although the protocol needs one.
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
            f"first '{missing[0]}'; if a model gave none, write an empty caption"
        )
    return len(missing)


def print_scores(results: Mapping[str, Any]) -> None:
    """Print the scores and their signatures."""
    from avbench.reports.notes import condensed
    from avbench.reports.table import TITLES

    signatures: list[str] = []
    for system in results["systems"]:
        say(f"{system['hypotheses']}: {results['references']['ids']} ids")
        for score in system["scores"]:
            signatures.append(score["signature"])
            title = TITLES.get(score["name"], score["name"])
            say(f"  {title:<16} {score['value']:8.3f} {score['unit']}")
        if system["without_caption"]:
            say(f"  {system['without_caption']} ids have no caption and count as empty")
        if system["empty"]:
            say(f"  {system['empty']} captions are empty")
    _print_comparisons(results.get("comparisons", []))
    for text in condensed(signatures):
        say(f"signature: {text}")


def _print_comparisons(comparisons: Sequence[Mapping[str, Any]]) -> None:
    from avbench.evaluation.statistics.resampling import RESAMPLES
    from avbench.reports.table import TITLES

    last = None
    for one in comparisons:
        if one["hypotheses"] != last:
            last = one["hypotheses"]
            say(f"{last} − {one['to']}: 95 % interval; corrected p; p by exchanging captions")
        title = TITLES.get(one["score"], one["score"])
        ends = " ".join("?" if x is None else f"{x:+.3f}" for x in (one["low"], one["high"]))
        p = " ".join(f"{one[name]:.4f}" for name in ("p_corrected", "p_exchanged_corrected"))
        say(f"  {title:<16} {one['difference']:+8.3f} [{ends}] {p}")
    if comparisons:
        say(
            f"Tested for these captions on other ids: paired bootstrap ({RESAMPLES} resamples of "
            "single ids) and approximate randomisation, with Holm's correction over "
            f"{len(comparisons)} differences."
        )
