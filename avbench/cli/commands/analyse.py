"""Commands that analyse the captions and the speech of datasets."""

from pathlib import Path
from typing import Annotated

import typer

from avbench.cli.commands.common import (
    FORMATS,
    Format,
    Json,
    PluginsDir,
    Results,
    formats_of,
    print_json,
    say,
)
from avbench.cli.commands.numbers import CLIPS, WORDS, number
from avbench.core.paths import RESULTS

app = typer.Typer()
analyse_app = typer.Typer(help="Analyse captions and speech of datasets.", no_args_is_help=True)
app.add_typer(analyse_app, name="analyse")

Files = list[str] | None


@analyse_app.command("relevance")
def relevance(
    data: Annotated[
        str, typer.Option(metavar="FILE", help="A data file of yours, or 'embedded'.")
    ] = "embedded",
    dataset: Annotated[
        Files, typer.Option(metavar="KEY", help="Only this dataset; may be repeated.")
    ] = None,
    audio: Annotated[
        Files,
        typer.Option(metavar="FILE", help="Captions of sound (AudioCaps, Clotho): a file, or a "
                     "dataset of the data file; may be repeated."),
    ] = None,
    image: Annotated[
        Files, typer.Option(metavar="FILE", help="Captions of images (COCO), the same.")
    ] = None,
    asr: Annotated[
        Files,
        typer.Option(metavar="[KEY=]FILE", help="Speech of a dataset's clips: JSON lines, "
                     "HowTo100M's JSON, csv, or a folder of one csv a video."),
    ] = None,
    tokenizer: Annotated[str, typer.Option(help="words or ptb.")] = "words",
    lemmatizer: Annotated[str, typer.Option(help="rules, none or simplemma.")] = "rules",
    stop_words: Annotated[str, typer.Option(help="nltk, none or stop-words.")] = "nltk",
    unseen: Annotated[
        str, typer.Option(help="Words in no image caption: add:A, once, zero or highest.")
    ] = "add:1",
    coverage: Annotated[
        str, typer.Option(help="Words that SCR compares: tokens, lemmas or content.")
    ] = "tokens",
    unheard: Annotated[
        str, typer.Option(help="Clips without a transcript, for SCR: zero or skip.")
    ] = "zero",
    top: Annotated[int, number(WORDS, "Words in the picture.")] = 100,
    sensitivity: Annotated[
        bool, typer.Option(help="Show the results of other choices too.")
    ] = True,
    results: Results = RESULTS,
    plugins_dir: PluginsDir = None,
    format_: Format = FORMATS,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Measure how much of captions can be heard: speech coverage, audio relevance (Table 1)."""
    from avbench.analysis.relevance.asked import analysis
    from avbench.cli.reports import write_relevance
    from avbench.core.registry import load

    formats = formats_of(format_)
    found = analysis(
        load(plugins_dir),
        data=data,
        keys=dataset or (),
        audio=audio or (),
        image=image or (),
        asr=asr or (),
        tokenizer=tokenizer,
        lemmatizer=lemmatizer,
        stop_words=stop_words,
        unseen=unseen,
        coverage=coverage,
        unheard=unheard,
        top=top,
        sensitivity=sensitivity,
    )
    write_relevance(found, results / "relevance", formats, as_json)


@analyse_app.command("speech")
def speech(
    data: Annotated[Path, typer.Option(metavar="FILE", help="A data file of yours.")],
    dataset: Annotated[str, typer.Option(metavar="KEY", help="A dataset of the data file.")],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="JSON lines to write, for relevance's --asr.")
    ],
    split: Annotated[
        list[str] | None, typer.Option(help="Only this split; may be repeated.")
    ] = None,
    engine: Annotated[str, typer.Option(help="Speech recogniser.")] = "pocketsphinx",
    limit: Annotated[int | None, number(CLIPS, "Most clips to recognise.")] = None,
    plugins_dir: PluginsDir = None,
    as_json: Json = False,
) -> None:
    """Recognise the speech of a dataset's clips; continues an interrupted run."""
    from avbench.analysis.relevance.recognition import recognise_dataset
    from avbench.core.registry import load

    told = recognise_dataset(
        data, dataset, out, load(plugins_dir), splits=split, engine=engine, limit=limit
    )
    if as_json:
        print_json(told)
        return
    for name, n in told["clips"].items():
        say(f"{n:6} {name}")
    say(f"wrote {out}")
