"""Report pages of any size, made of plain data, for the tests of the page."""

import random
from base64 import b64encode
from collections.abc import Sequence

from avbench.evaluation.statistics.estimate import Estimate
from avbench.reports.long_table import Measurement, Table
from avbench.reports.page.contents import (
    ClipCaptions,
    Evidence,
    Fact,
    Figure,
    Gallery,
    Page,
    Plot,
    Row,
    Section,
    Series,
    StageFacts,
    Verdict,
)
from avbench.reports.pivot import pivot
from avbench.reports.table import Column, Inferred, Picture, Sheet, TableLayout, TableRow, Tested

SETS = ("talk", "sound")
WORDS = ("a", "the", "dog", "cat", "red", "blue", "runs", "sings", "near", "house", "loud")
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>hacked=1</script></svg>'
)


def score(row: int, dataset: str) -> float:
    """The score of a row on a set: 10, 20, 30, … on the first, the reverse on the second."""
    return 10.0 * (row + 1) if dataset == SETS[0] else 500.0 - 10.0 * row


def sheet(labels: Sequence[str], title: str = "Scores") -> Sheet:
    """A table of two sets and a cost; the second row differs significantly from the first."""
    long = [
        Measurement(
            suite="s", trial=f"{label} {seed}", label=label, dataset=dataset, metric=metric,
            seed=seed, value=score(i, dataset) + seed, unit="x100", record=f"s{i}",
            signature="cider|clips:9",
        )
        for i, label in enumerate(labels)
        for dataset in SETS
        for metric in ("cider", "bleu4")
        for seed in (0, 1)
    ]  # fmt: skip
    long += [
        Measurement(suite="s", trial="", label=label, metric="flops_g", value=2.0 + i, record="f")
        for i, label in enumerate(labels[:-1])
    ]
    estimate = Estimate(value=10.0, low=4.0, high=16.0, above=0.002, below=0.998, error=2.0, n=9)
    tested = Tested(to=labels[0], estimate=estimate, corrected=0.004)
    place = (labels[1], SETS[0], "cider")
    layout = TableLayout(
        title=title,
        columns=(Column(metric="cider"), Column(metric="bleu4", delta=False)),
        cost_columns=(Column(metric="flops_g", delta=False),),
        datasets=SETS,
        rows=tuple(TableRow(label=label) for label in labels),
        delta_to=labels[0],
        corner="Row",
    )
    known = Inferred(intervals={place: (15.0, 26.0)}, differences={place: tested})
    return pivot(Table.of(long), layout, ["A note."], known)


def page(
    labels: Sequence[str] = ("one", "two", "three"),
    *,
    clips: int = 8,
    text: str = "",
    strip: str = PIXEL,
    sound: str = "",
) -> Page:
    """A page with every part.

    Args:
        labels: of the rows; each is there once more with its video zeroed.
        clips: their number.
        text: a text that every part shows.
        strip: the frames of each clip.
        sound: the sound of each clip.
    """
    made = sheet(labels, f"Scores {text}".strip())
    chance = random.Random(0)
    rows = [Row(label=label, name=label) for label in labels]
    rows += [
        Row(label=f"{label} – video zeroed", name=f"{label} – video zeroed",
            altered="video zeroed", base=i)
        for i, label in enumerate(labels)
    ]  # fmt: skip

    def caption() -> str:
        return " ".join([*chance.choices(WORDS, k=9), text]).strip()

    gallery = Gallery(
        rows=tuple(rows),
        clips=tuple(
            ClipCaptions(
                dataset=SETS[i % 2],
                id=f"clip {i} {text}".strip(),
                references=("the red dog runs", caption()),
                speech=text,
                captions={
                    row: "the red zebra runs" if i == row else caption()
                    for row in range(len(rows))
                },
                scores={row: float(10 * i + row) for row in range(len(rows))},
                strip=strip,
                sound=sound,
            )
            for i in range(clips)
        ),
        score="CIDEr",
        notes=(f"{clips} of {clips} clips.", text),
    )
    stages = {
        f"s{i}": StageFacts(
            kind="score",
            folder=f"score-s{i}",
            status="done",
            facts={"commit": "c0ffee", "folder": f"stages/score-s{i} {text}"},
            parents={"predictions": f"g{i}"},
            options="metrics: []\n",
            log=f"scored {text}",
        )
        for i in range(len(labels))
    }
    stages |= {
        f"g{i}": StageFacts(
            kind="generate", folder=f"generate-g{i}", status="done", facts={}, parents={},
            options=f"beam: 5\nnote: {text}", log="",
        )
        for i in range(len(labels))
    }  # fmt: skip
    figures: dict[tuple[str, str, str], list[Figure]] = {}
    for line in made.table.frame.to_dict("records"):
        place = (line["label"], line["dataset"], line["metric"])
        seed = int(line["seed"]) if line["dataset"] else None
        figures.setdefault(place, []).append(
            Figure(seed=seed, value=line["value"], status="ok", reason=text,
                   record=line["record"], signature=line["signature"])
        )  # fmt: skip
    plots = (
        Plot(
            title=f"Losses {text}".strip(), caption="A caption.", x="step", y="loss",
            series=(
                Series(name=f"plain {text}", x=(0.0, 1.0, 2.0), y=(3.0, 2.0, 1.0)),
                Series(name="mbp", x=(0.0, 1.0, 2.0), y=(3.0, 2.5, 2.0), low=(2.0, 2.0, 1.0),
                       high=(4.0, 3.0, 3.0), colour=1, dash="dotted"),
            ),
        ),
        Plot(
            title="Use", caption="A caption.", x="streams", y="CIDEr",
            series=(Series(name="one", x=("all", "zeroed"), y=(2.0, 1.0), dash=""),),
            categories=("all", "zeroed"),
        ),
    )  # fmt: skip
    evidence = Evidence(
        of=f"talk CIDEr: two − one {text}", difference="+10.0", interval="[+4.0, +16.0]", n="3",
        p="0.004", published="+2.0",
    )  # fmt: skip
    picture = Picture(name="p", title=f"A picture {text}".strip(), caption=text, svg=SVG, png=b"")
    return Page(
        title=f"A report {text}".strip(),
        facts=(Fact(name="Suite", values=("s", text)), Fact(name="Commit", values=("c0ffee",))),
        missing=(f"three, costs: missing {text}",),
        verdicts=tuple(
            Verdict(verdict=verdict, says=f"Two is better. {text}", background="Table 9",
                    unit="seeds", conclusion="corrected p 0.004", evidence=(evidence,))
            for verdict in ("supported", "refuted", "inconclusive", "not run")
        ),
        verdict_notes=("How verdicts are reached.",),
        sections=(
            Section(title="Tables", sheets=(made,)),
            Section(title="More", sheets=(sheet(labels, "Folded"),), folded=True),
        ),
        plots=plots,
        pictures=(picture,),
        figures={place: tuple(of) for place, of in figures.items()},
        stages=stages,
        commands={label: f"avbench run s --only '{label}'" for label in labels},
        gallery=gallery,
    )  # fmt: skip


def noise(size: int) -> str:
    """A data URL of ``size`` random bytes, as sound that a codec cannot make smaller."""
    return f"data:audio/webm;base64,{b64encode(random.Random(0).randbytes(size)).decode()}"
