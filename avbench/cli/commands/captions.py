"""Commands on captions: export a captioner, caption files, score captions of any model."""

from pathlib import Path
from typing import Annotated

import typer

from avbench.cli.commands.common import (
    Data,
    Json,
    PluginsDir,
    Preset,
    Results,
    Seeds,
    SuiteName,
    With,
    plan_from_options,
    print_json,
    say,
    store_in,
)
from avbench.cli.commands.numbers import SECONDS, THREADS, number
from avbench.core.numbers import SEED
from avbench.core.paths import RESULTS
from avbench.models.settings import BATCH, BEAM

app = typer.Typer()


@app.command("export")
def export_(
    suite: SuiteName,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="A new folder to write.")],
    preset: Preset = None,
    data: Data = None,
    seeds: Seeds = None,
    additional: With = None,
    only: Annotated[str | None, typer.Option(metavar="LABEL", help="The row to export.")] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="KEY", help="The fine-tuning to export, by its dataset.")
    ] = None,
    seed: Annotated[int | None, number(SEED, "One of the suite's seeds.")] = None,
    results: Results = RESULTS,
    plugins_dir: PluginsDir = None,
) -> None:
    """Write a trained captioner as a folder of its own: safetensors, JSON and a tokenizer."""
    from avbench.core.registry import load
    from avbench.runner.export import export

    rows = [only] if only else None
    plan = plan_from_options(suite, preset, data, seeds, additional, rows, plugins_dir)
    export(plan, store_in(results), load(plugins_dir), out, dataset=dataset, seed=seed)
    say(f"wrote {out}")
    say(f"next: avbench caption {out} FILE")


@app.command()
def caption(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A folder of avbench export.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Media files.")],
    start: Annotated[
        float | None,
        number(SECONDS, "Start of the clip, in seconds."),
    ] = None,
    end: Annotated[
        float | None,
        number(SECONDS, "End of the clip, in seconds."),
    ] = None,
    speech: Annotated[
        str | None, typer.Option(help="Speech of the clip, for models that read text.")
    ] = None,
    speech_file: Annotated[
        Path | None, typer.Option(help='Speech of many clips: JSON {"file name": "text"}.')
    ] = None,
    beam: Annotated[
        int | None,
        number(BEAM, "Beam width; by default the suite's."),
    ] = None,
    batch: Annotated[int | None, number(BATCH, "Clips per batch.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
    threads: Annotated[
        int,
        number(THREADS, "Threads of the network; rounding may depend on them."),
    ] = 1,
    plugins_dir: PluginsDir = None,
    as_json: Json = False,
) -> None:
    """Print the caption of each file. Names that begin with a dash must follow ``--``."""
    from avbench.cli.caption import describe_files

    good = describe_files(
        model,
        files,
        start=start,
        end=end,
        speech=speech,
        speech_file=speech_file,
        beam=beam,
        batch=batch,
        device=device,
        threads=threads,
        plugins_dir=plugins_dir,
        as_json=as_json,
    )
    raise typer.Exit(0 if good else 1)


@app.command()
def score(
    hypotheses: Annotated[
        list[Path], typer.Option(metavar="FILE", help="Captions of a system; may be repeated.")
    ],
    references: Annotated[
        list[Path],
        typer.Option(metavar="FILE", help="One or more captions per id; may be repeated."),
    ],
    protocol: Annotated[str, typer.Option(help="coco, or paragraph (ids are videos).")] = "coco",
    metric: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this metric; may be repeated.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write scores and statistics by id.")
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Test each file of captions against the first.")
    ] = False,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|FIELD",
            help="The video of each id, for --compare: a file (id and video), or a field of the "
            "references.",
        ),
    ] = None,
    plugins_dir: PluginsDir = None,
    as_json: Json = False,
) -> None:
    """Score any model's captions against references: JSON lines, coco-caption's JSON or csv."""
    from avbench.cli.score import print_scores, score_files
    from avbench.core.registry import load

    found = score_files(
        hypotheses,
        references,
        protocol,
        load(plugins_dir),
        metrics=metric or (),
        out=out,
        compare=compare,
        group=group,
    )
    print_json(found) if as_json else print_scores(found)
