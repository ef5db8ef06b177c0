"""Commands around suites: check the machine and your data, print schemas for editors."""

from pathlib import Path
from typing import Annotated, Any

import typer

from avbench.cli.commands.common import Json, PluginsDir, Results, print_json, say
from avbench.cli.commands.numbers import PROCESSES, SECONDS, number
from avbench.core.paths import RESULTS

app = typer.Typer()
data_app = typer.Typer(help="Check and prepare your datasets.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@app.command("doctor")
def doctor_(
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A data file of yours.")
    ] = None,
    results: Results = RESULTS,
    plugins_dir: PluginsDir = None,
    as_json: Json = False,
) -> None:
    """Check the machine, the packages and your data, and print what to do."""
    from dataclasses import asdict

    from avbench.cli.doctor import examine
    from avbench.cli.listing import print_advice

    found = examine(data=data, results=results, plugins_dir=plugins_dir)
    print_json([asdict(advice) for advice in found]) if as_json else print_advice(found)
    raise typer.Exit(1 if any(advice.status == "problem" for advice in found) else 0)


@app.command("schema")
def schema_(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="suite, collection, preset, data.")],
    plugins_dir: PluginsDir = None,
) -> None:
    """Print a JSON Schema for editors, your plugins' options included."""
    from avbench.config.schema import schema
    from avbench.core.registry import load

    print_json(schema(what, load(plugins_dir)))


@app.command("settings")
def settings_(plugins_dir: PluginsDir = None) -> None:
    """Print every setting and option as Markdown: default, range, unit, source, meaning."""
    from avbench.config.settings_page import settings_page
    from avbench.core.registry import load

    say(settings_page(load(plugins_dir)))


@data_app.command("check")
def data_check_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A data file of yours.")],
    seconds: Annotated[
        float,
        number(SECONDS, "Time for opening media; other files need only exist."),
    ] = 60.0,
    workers: Annotated[int, number(PROCESSES, "Processes that open media.")] = 1,
    decode: Annotated[
        bool, typer.Option("--decode", help="Decode every clip too, without a time limit.")
    ] = False,
    plugins_dir: PluginsDir = None,
    as_json: Json = False,
) -> None:
    """Show the contents of each split, lost clips with reasons, and overlaps of splits."""
    from avbench.cli.data_check import data_check, print_data_check
    from avbench.core.registry import load

    found = data_check(file, load(plugins_dir), seconds=seconds, workers=workers, decode=decode)
    print_json(found) if as_json else print_data_check(found)
    raise typer.Exit(0 if found["ok"] else 1)


@data_app.command("prepare")
def data_prepare_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A data file of yours.")],
    dataset: Annotated[str, typer.Option(metavar="KEY", help="A dataset of the data file.")],
    split: Annotated[str, typer.Option(help="A split of the dataset.")],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of shards, with one folder per split.")
    ],
    jobs: Annotated[
        int | None,
        number(PROCESSES, "Independent jobs; by default as many as workers."),
    ] = None,
    workers: Annotated[
        int | None,
        number(PROCESSES, "Jobs at once; by default as many as cores."),
    ] = None,
    short_side: Annotated[int, typer.Option(help="Pixels; larger frames are scaled down.")] = 256,
    crf: Annotated[int, typer.Option(help="x264's quality: 0 is lossless, 51 worst.")] = 23,
    preset: Annotated[str, typer.Option(help="x264's preset.")] = "veryfast",
    fps: Annotated[
        float | None, typer.Option(help="Most frames per second; by default all are kept.")
    ] = None,
    sound: Annotated[str, typer.Option(help="aac, or flac: lossless at 16 bits.")] = "aac",
    sample_rate: Annotated[int, typer.Option(help="Hz, as the spectrogram's.")] = 22_050,
    bitrate: Annotated[int, typer.Option(help="kbit/s of AAC.")] = 64,
    clips_per_shard: Annotated[int, typer.Option(help="Clips per shard.")] = 1000,
    reencode: Annotated[
        bool, typer.Option(help="Re-encode each clip, or copy source files unchanged.")
    ] = True,
    start: Annotated[
        bool, typer.Option(help="Run the jobs here, or only write them for other machines.")
    ] = True,
    verify: Annotated[
        bool, typer.Option(help="Compare shards with their hashes; rewrite damaged ones.")
    ] = False,
    plugins_dir: PluginsDir = None,
    as_json: Json = False,
) -> None:
    """Write a split as shards: clips cut, scaled and re-encoded with sound; resumes by itself."""
    from avbench.cli.data_check import print_shards
    from avbench.cli.progress import console, watch
    from avbench.core.errors import SuiteError
    from avbench.core.options import ValidationError, build, problems
    from avbench.core.registry import load
    from avbench.data.media.recode import Encoding
    from avbench.runner.executors.local import cores
    from avbench.runner.prepare_shards import ShardRequest, data_prepare
    from avbench.runner.scheduler import Run
    from avbench.workflow.preflight import check_folder

    asked: dict[str, Any] = {
        "recode": reencode,
        "short_side": short_side,
        "crf": crf,
        "preset": preset,
        "fps": fps,
        "sound": sound,
        "sample_rate": sample_rate,
        "bitrate": bitrate,
        "clips_per_shard": clips_per_shard,
    }
    try:
        encoding = build(Encoding, asked)
    except ValidationError as error:
        raise SuiteError("\n".join(problems(error, Encoding, "data prepare"))) from None

    def follow(run: Run) -> int:
        with watch(console(stderr=as_json)) as watcher:
            return run.go(watcher)

    check_folder(out, "give another folder with --out")
    request = ShardRequest(file=file, dataset=dataset, split=split, out=out, encoding=encoding)
    at_once = workers or cores()
    found = data_prepare(
        request,
        load(plugins_dir),
        jobs=jobs or at_once,
        workers=at_once,
        start=start,
        verify=verify,
        watch=follow,
    )
    print_json(found) if as_json else print_shards(found)
    raise typer.Exit(found["status"] or (0 if found["complete"] or not start else 1))
