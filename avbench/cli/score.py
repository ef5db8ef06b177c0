"""``avbench score``: scores any model's captions against references, without a suite.

A caption without a reference is an error in both protocols. A reference without a caption is an
error in the protocol ``coco``; the protocol ``paragraph`` (ActivityNet-Captions) scores such a
video with an empty caption. The order of the ids does not matter in either file. The order of one
id's references is part of the signature, since METEOR depends on it
(``avbench.builtin.metrics.coco_caption``). So is the order of sentences that a file of captions
gives one by one (``order:start`` if they were sorted by time, ``order:file`` if not).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from avbench.cli.commands.common import say
from avbench.core.errors import AvbenchError, DataError, unknown
from avbench.core.job import write_json
from avbench.core.options import make
from avbench.core.registry import Registry
from avbench.core.visible import brief
from avbench.evaluation.caption_files import (
    Captions,
    read_groups,
    read_hypotheses,
    read_references,
)
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
    group: str | None = None,
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
        group: a file with the group of each id, or a field of the references; ``compare`` then
            keeps the ids of a group together.

    Returns:
        ``protocol``; ``references``: their file, the number of ids and of blank references, which
        are left out; ``systems``: for each file its name, the number of empty captions, of missing
        ones that the protocol takes as empty, and the scores; with ``compare`` also
        ``comparisons``, see ``avbench.evaluation.compare``.

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
    if group is not None and not compare and out is None:
        raise AvbenchError(f"--group: needs --compare or --out, got '{group}' alone")
    components = {
        name: registry.get("metrics", name) for name in metrics or registry.names("metrics")
    }
    against = ", ".join(map(str, references))
    of_file = Path(group) if group is not None and _is_file(group) else None
    read = [read_references(path, None if of_file else group) for path in references]
    captions, blank = _joined(read, against)
    groups = None
    if group is not None:
        groups = _groups(of_file, read, captions)
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
            for one, scores, said in zip(scored, made, given, strict=True):
                ref = {"name": name, "options": {}}
                one.extend(Scored(_signed(score, said), metric, ref) for score in scores)
        finally:
            metric.close()
    results: dict[str, Any] = {
        "protocol": protocol,
        "references": {"file": against, "ids": len(captions), "blank": blank},
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
        results["comparisons"] = list(_compared(hypotheses, scored, groups))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_scores(out, scored[0], groups or {i: i for i in captions})
        write_json(out / SCORES, results)
    return results


def _is_file(group: str) -> bool:
    """Tell a file of groups from the name of a field."""
    path = Path(group)
    return (
        path.is_file() or len(path.parts) > 1 or path.suffix in (".csv", ".json", ".jsonl", ".gz")
    )


def _joined(
    files: Iterable[Mapping[str, tuple[str, ...]]], against: str
) -> tuple[dict[str, tuple[str, ...]], int]:
    """Return the references of all files without blank ones, and the number of these.

    Raises:
        DataError: all references of an id are blank.
    """
    captions: dict[str, tuple[str, ...]] = {}
    for read in files:
        for id_, texts in read.items():
            captions[id_] = (*captions.get(id_, ()), *texts)
    kept = {id_: tuple(filter(None, texts)) for id_, texts in captions.items()}
    bare = [id_ for id_, texts in kept.items() if not texts]
    if bare:
        raise DataError(
            f"{against}: {len(bare)} of {len(kept)} ids have blank references alone, the first "
            f"'{brief(bare[0])}'; leave such ids out of the references and of the captions"
        )
    return kept, sum(map(len, captions.values())) - sum(map(len, kept.values()))


def _groups(
    file: Path | None, references: Sequence[Captions[tuple[str, ...]]], ids: Iterable[str]
) -> dict[str, str]:
    """Return the group of each id, from a file of its own or from the references.

    Raises:
        DataError: the file is malformed, an id has no group, or two.
    """
    found: dict[str, str] = {}
    for read in [read_groups(file)] if file else [read.groups for read in references]:
        for id_, group in read.items():
            if found.setdefault(id_, group) != group:
                raise DataError(
                    f"--group: id '{brief(id_)}' has the group '{brief(found[id_])}' in one file "
                    f"of references and '{brief(group)}' in another"
                )
    bare = [id_ for id_ in ids if id_ not in found]
    if bare:
        raise DataError(
            f"--group: {file}: {len(bare)} ids have no group, the first '{brief(bare[0])}'; "
            f"its ids are like '{brief(next(iter(found)))}'"
        )
    return {id_: found[id_] for id_ in ids}


def _signed(score: Score, said: Captions[str]) -> Score:
    """Add the order of a file's sentences to the signature, if it gives them one by one."""
    if not said.orders:
        return score
    return replace(score, signature=f"{score.signature}|order:{'+'.join(sorted(said.orders))}")


def _compared(
    files: Sequence[Path],
    scored: Sequence[Sequence[Scored]],
    groups: Mapping[str, str] | None,
) -> Iterator[dict[str, Any]]:
    """Yield the tests of all systems against the first, as plain data."""
    from avbench.evaluation.compare import against_first

    for one in against_first(scored, groups):
        yield {
            "hypotheses": str(files[one.system]),
            "to": str(files[0]),
            "score": one.score,
            **one.estimate.plain(),
            "units": "ids" if groups is None else "groups",
            "p_corrected": one.corrected,
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
            f"first '{brief(surplus[0])}'; its ids are like '{brief(next(iter(captions)))}'"
        )
    missing = [i for i in captions if i not in said]
    if missing and protocol != "paragraph":
        raise DataError(
            f"{path}: {len(missing)} of {len(captions)} ids of {references} have no caption, the "
            f"first '{brief(missing[0])}'; if a model gave none, write an empty caption"
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
    if results["references"]["blank"]:
        say(f"{results['references']['blank']} blank references are left out")
    _print_comparisons(results.get("comparisons", []))
    for text in condensed(signatures):
        say(f"signature: {text}")


def _print_comparisons(comparisons: Sequence[Mapping[str, Any]]) -> None:
    from avbench.evaluation.statistics.resampling import EXCHANGES
    from avbench.reports.table import TITLES

    last = None
    for one in comparisons:
        if one["hypotheses"] != last:
            last = one["hypotheses"]
            say(f"{last} − {one['to']}: 95 % interval over {one['n']} {one['units']}; corrected p")
        title = TITLES.get(one["score"], one["score"])
        ends = f"[{one['low']:+.3f} {one['high']:+.3f}]" if not one["reason"] else "[no interval]"
        say(f"  {title:<16} {one['difference']:+8.3f} {ends} {one['p_corrected']:.4f}")
    for reason in dict.fromkeys(one["reason"] for one in comparisons if one["reason"]):
        say(f"No interval: {reason}.")
    if comparisons:
        units = comparisons[0]["units"]
        say(
            f"Tested for these captions on other {units}: approximate randomisation ({EXCHANGES} "
            f"exchanges of {'whole groups' if units == 'groups' else 'single ids'}) decides, with "
            f"Holm's correction over {len(comparisons)} differences. Intervals: Student's t by "
            "the jackknife, corrected for skewness."
        )
