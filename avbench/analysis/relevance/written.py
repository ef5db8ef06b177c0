"""The other outputs of an analysis of relevance: JSON, and the counts of all words."""

from dataclasses import asdict
from typing import Any

from avbench.analysis.relevance.analysis import Analysis, paper, swapped
from avbench.analysis.relevance.figures import SetFigures, interval
from avbench.analysis.relevance.sets import Corpus
from avbench.core.visible import as_comment, csv_text
from avbench.data.text.counts import TOTAL, TYPES

SCR, ARS = "scr", "ars"


def to_json(analysis: Analysis) -> dict[str, Any]:
    """Return the whole analysis as plain data."""
    choices = analysis.choices
    return {
        "choices": {
            **asdict(choices.reading),
            "unseen": str(choices.unseen),
            "coverage": choices.coverage,
            "unheard": choices.unheard,
        },
        "corpora": {
            name: {"from": list(corpus.titles), "captions": len(corpus.texts), "words": words}
            for name, corpus, words in corpora(analysis)
        },
        "sets": [_figures_json(f) for f in analysis.figures],
        "sensitivity": [
            {
                "choice": v.title,
                "problem": v.problem or None,
                "sets": {
                    f.key: {"scr": f.scr and f.scr.value, "ars": f.ars and f.ars.value}
                    for f in v.figures
                },
                "swapped": [list(pair) for pair in swapped(v.figures)],
            }
            for v in analysis.variants
        ],
        "words": [w._asdict() for w in analysis.words],
    }


def words_csv(analysis: Analysis) -> str:
    """Return the counts of all words and their ARS, as ``read_counts`` reads them."""
    counts = analysis.counts
    assert counts is not None, "there are words only where they were counted"
    reading = analysis.choices.reading
    said = {**asdict(reading), "unseen": counts.unseen}
    said |= {name: ", ".join(corpus.titles) for name, corpus, _ in corpora(analysis)}
    head = "".join(as_comment(f"{name}: {value}") for name, value in said.items())
    lines = [
        ["word", "audio", "image", "ars"],
        [TOTAL, str(counts.audio_total), str(counts.image_total), ""],
        [TYPES, str(counts.types), str(counts.types), ""],
    ]
    words = sorted({*counts.audio, *counts.image}, key=lambda w: (-counts.table.get(w, 0.0), w))
    for word in words:
        numbers = str(counts.audio.get(word, 0)), str(counts.image.get(word, 0))
        lines.append([word, *numbers, f"{counts.table.get(word, 0.0):.6f}"])
    return head + csv_text(lines)


def _figures_json(f: SetFigures) -> dict[str, Any]:
    printed = paper(f)
    return {
        **{k: v for k, v in asdict(f).items() if k not in (SCR, ARS)},
        **{
            name: estimate and {"value": estimate.value, "interval": interval(estimate)}
            for name, estimate in ((SCR, f.scr), (ARS, f.ars))
        },
        "paper": printed and dict(zip((SCR, ARS), printed, strict=True)),
    }


def corpora(analysis: Analysis) -> list[tuple[str, Corpus, int]]:
    """Return name, captions and words of each corpus; none if nothing was counted."""
    counts = analysis.counts
    if counts is None:
        return []
    return [
        ("audio", analysis.audio, counts.audio_total),
        ("image", analysis.image, counts.image_total),
    ]
