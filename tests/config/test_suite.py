"""The suite reader: what it makes of a file, and every problem at once with its line."""

from pathlib import Path

import pytest

from avbench.config import strict_yaml
from avbench.config.overrides import Overrides
from avbench.config.suite import Suite, read_suite
from avbench.core.errors import SuiteError
from avbench.core.registry import Registry, load
from avbench.data.settings import SoundPolicy


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


SMALL = """
name: small
rows:
  - {label: one, fusion: merged}
  - {label: two, fusion: {name: global, global_tokens: 2}}
defaults: {loss: mbp, modalities: V+A, tasks: [pcc]}
pretrain: {dataset: howto100m}
finetune: {datasets: [vatex]}
"""


def read(folder: Path, registry: Registry, text: str, **overrides: object) -> Suite:
    (folder / "s.yaml").write_text(text, encoding="utf-8")
    return read_suite("s.yaml", registry, Overrides(**overrides))  # type: ignore[arg-type]


def complaint(folder: Path, registry: Registry, text: str, **overrides: object) -> str:
    with pytest.raises(SuiteError) as caught:
        read(folder, registry, text, **overrides)
    return str(caught.value)


# ------------------------------------------------------------------ strict YAML


def test_scalars_are_what_they_look_like(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "a: 1e-4\nb: on\nc: 10:30\nd: 30_522\ne: .5\nf: true\ng: ~\nh: 0123\ni: 2026-01-01\nj: -3"
    )
    assert strict_yaml.load(path).data == {
        "a": 1e-4,
        "b": "on",
        "c": "10:30",
        "d": 30_522,
        "e": 0.5,
        "f": True,
        "g": None,
        "h": "0123",
        "i": "2026-01-01",
        "j": -3,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nb: 1\nname: c\n", "x.yaml:3: name: given twice (first on line 1)"),
        ("a: {b: 1,\n  b: 2}\n", "x.yaml:2: a.b: given twice (first on line 1)"),
        ("a: [1, 2\n", "x.yaml:2: invalid YAML: expected ',' or ']', but got '<stream end>'"),
        ("- 1\n", "x.yaml:1: must be a mapping of fields, got [1]"),
        ("1: 2\n", "x.yaml:1: 1: a field's name must be text, got 1"),
        ("a: &a\n  b: *a\n", "x.yaml:1: an alias must not contain itself"),
        (
            "a: !!python/object/apply:os.system ['true']\n",
            "x.yaml:1: invalid YAML: tags are not allowed, got "
            "'tag:yaml.org,2002:python/object/apply:os.system'",
        ),
        (
            "a: !!python/name:os.system ''\n",
            "x.yaml:1: invalid YAML: tags are not allowed, got "
            "'tag:yaml.org,2002:python/name:os.system'",
        ),
    ],
)
def test_bad_yaml(folder: Path, text: str, message: str) -> None:
    (folder / "x.yaml").write_text(text)
    with pytest.raises(SuiteError) as caught:
        strict_yaml.load(Path("x.yaml"))
    assert str(caught.value) == message


def test_a_file_that_cannot_be_read(folder: Path) -> None:
    (folder / "x.yaml").write_bytes(b"a: \xff")
    with pytest.raises(SuiteError, match=r"^x\.yaml: cannot be read: 'utf-8' codec"):
        strict_yaml.load(Path("x.yaml"))


# ------------------------------------------------------------------ what is read


def test_rows_and_settings(folder: Path, registry: Registry) -> None:
    suite = read(folder, registry, SMALL)
    assert [row.label for row in suite.rows] == ["one", "two"]
    assert suite.rows[1].axes["fusion"] == "global(global_tokens=2)"
    assert suite.rows[1].fusion.options["global_tokens"] == 2
    # Every option stands in the reference, so that writing a default out changes no id.
    assert set(suite.rows[0].fusion.options) == {"norm"}
    settings = suite.rows[0].settings
    assert settings.pretrain is not None
    assert settings.pretrain.train.loss.name == "mbp"
    assert settings.pretrain.train.loss.options == {
        "alpha": 10.0,
        "beta": 0.99,
        "start": None,
    }
    assert settings.pretrain.train.tasks == ("pcc",)
    # Fine-tuning's loss and tasks come from the preset, not from the axes.
    assert settings.finetune[0].train.loss.name == "plain"
    assert settings.vocabulary_datasets == ("howto100m", "vatex")
    assert suite.seeds == (0,)


def test_a_grid_is_every_combination(folder: Path, registry: Registry) -> None:
    suite = read(
        folder,
        registry,
        """
name: g
grid: {loss: [plain, mbp], pretrain.lr: [1e-4, 2e-4], tasks: [[pcc], [pcc, pnc]]}
defaults: {fusion: merged, modalities: V+A}
pretrain: {dataset: howto100m}
""",
    )
    assert len(suite.rows) == 8
    assert suite.rows[3].label == "plain, 0.0002, pcc+pnc"
    assert suite.rows[3].axes == {
        "fusion": "merged",
        "loss": "plain",
        "modalities": "V+A",
        "tasks": "pcc+pnc",
        "pretrain.lr": "0.0002",
    }
    pretrain = suite.rows[3].settings.pretrain
    assert pretrain is not None
    assert pretrain.train.lr == 2e-4


def test_a_dotted_axis_reaches_an_encoders_option(folder: Path, registry: Registry) -> None:
    text = SMALL.replace("fusion: merged", "model.encoders.audio.options.pool: 2, fusion: merged")
    suite = read(folder, registry, text)
    assert suite.rows[0].settings.model.encoders["audio"].options["pool"] == 2
    assert suite.rows[1].settings.model.encoders["audio"].options["pool"] == 1


def test_a_suite_stands_over_its_preset(folder: Path, registry: Registry) -> None:
    (folder / "own.yaml").write_text(
        "model: {D: 96, heads: 4, encoders: {video: video_swin,\n"
        "  audio: {name: audio_transformer, layers: 2, patch_frames: 4}}}\n"
        "finetune: {loss: plain, steps: 1}\npretrain: {steps: 1}\n"
    )
    more = "preset: ./own.yaml\nmodel: {encoders: {audio: {layers: 7}}, dropout: 0.2}"
    model = read(folder, registry, SMALL + more).rows[0].settings.model
    assert (model.D, model.dropout) == (96, 0.2)
    assert model.encoders["audio"].options["layers"] == 7
    assert model.encoders["audio"].options["patch_frames"] == 4  # the preset's, kept


def test_another_component_takes_no_options_of_the_presets(
    folder: Path, registry: Registry
) -> None:
    more = "model: {encoders: {video: {name: timm_frames, options: {name: resnet34}}}}"
    video = read(folder, registry, SMALL + more).rows[0].settings.model.encoders["video"]
    assert video.name == "timm_frames"
    assert video.options == {
        "name": "resnet34",
        "grid": 1,
        "pretrained": None,
        "batch_norm": "frozen",
    }


def test_epochs_and_steps_replace_each_other(folder: Path, registry: Registry) -> None:
    more = SMALL.replace("howto100m}", "howto100m, epochs: 3}")
    pretrain = read(folder, registry, more).rows[0].settings.pretrain
    assert pretrain is not None
    assert (pretrain.train.epochs, pretrain.train.steps) == (3, None)


def test_paper_preset_has_the_papers_epochs(registry: Registry) -> None:
    suite = read_suite("table4", registry, Overrides(preset="paper"))
    epochs = {t.dataset: t.train.epochs for t in suite.rows[0].settings.finetune}
    assert epochs == {"youcook2": 5, "msrvtt": 5, "vatex": 10, "activitynet": 30}
    assert {t.train.lr for t in suite.rows[0].settings.finetune} == {1e-5}
    assert suite.rows[0].settings.model.D == 768


@pytest.mark.parametrize(
    ("asked", "seeds"), [("3", (0, 1, 2)), ("1,5", (1, 5)), (None, (4,)), ("1", (0,))]
)
def test_seeds(
    folder: Path, registry: Registry, asked: str | None, seeds: tuple[int, ...]
) -> None:
    assert read(folder, registry, SMALL + "seeds: [4]", seeds=asked).seeds == seeds


def test_with_adds_a_row_like_the_first(folder: Path, registry: Registry) -> None:
    suite = read(folder, registry, SMALL, additional=("cross", "loss=plain"))
    assert [row.label for row in suite.rows] == ["one", "two", "cross", "plain"]
    assert suite.rows[2].axes["fusion"] == "cross"
    assert suite.rows[3].axes == {**suite.rows[0].axes, "loss": "plain"}


def test_only_keeps_rows(folder: Path, registry: Registry) -> None:
    assert [r.label for r in read(folder, registry, SMALL, only=("two",)).rows] == ["two"]
    assert complaint(folder, registry, SMALL, only=("tow",)) == (
        "--only: unknown row 'tow'; did you mean 'two'? Allowed: one, two"
    )


def test_predefined_suites_have_the_papers_rows_and_figures(registry: Registry) -> None:
    from avbench.config.shipped import published

    for name, rows, sets in [("table2", 5, 4), ("table3", 5, 2), ("table4", 5, 4)]:
        suite = read_suite(name, registry)
        assert len(suite.rows) == rows
        assert len(suite.rows[0].settings.finetune) == sets
        assert suite.table.published is not None
        lines = published(suite.table.published)
        for row in suite.rows:
            own = [
                line for line in lines if all(line[k] == str(v) for k, v in row.published.items())
            ]
            assert len(own) == 4 * sets, row.label


# ------------------------------------------------------------------ what is refused


def test_every_problem_at_once_with_its_line(folder: Path, registry: Registry) -> None:
    text = """name: bad
rows:
  - {label: a, fusion: mergd}
  - {label: b, fusion: {name: global, global_tokns: 2}}
  - {label: b, loss: {name: mbp, alpha: -1}}
  - {label: c, modle.D: 3}
  - {label: d, model.dropuot: 0.1}
defaults: {fusion: merged, loss: mbp, modalities: V+A, tasks: [pcc]}
model:
  D: 192
  heads: 5
pretrain: {dataset: howto10m, lr: fast, batch: "30"}
finetune:
  datasets: [vatex, vattex, vatex]
  per_dataset:
    vatx: {lr: 1e-5}
evaluate:
  metrics: [bleu]
table:
  delta_to: A
  published: table9
"""
    message = complaint(folder, registry, text)
    fusions = ", ".join(registry.names("fusions"))
    sets = "activitynet, howto100m, msrvtt, vatex, youcook2"
    assert message.splitlines() == [
        f"s.yaml:3: fusion: unknown fusion 'mergd'; did you mean 'merged'? Allowed: {fusions}",
        "s.yaml:4: fusion.global: unknown field 'global_tokns'; did you mean 'global_tokens'? "
        "Allowed: "
        + ", ".join(sorted(registry.get("fusions", "global").config.__dataclass_fields__)),
        "s.yaml:5: loss.mbp.alpha: must be above 0 and at most 1,000,000 per squared nat, "
        "got -1.0",
        "s.yaml:6: modle.D: unknown axis 'modle.D'; did you mean 'model.…'? Allowed: "
        "compute.…, decode.…, evaluate.…, finetune.…, fusion, input.…, loss, modalities, "
        "model.…, pretrain.…, tasks, vocabulary.…, world.…",
        "s.yaml:7: model: unknown field 'dropuot'; did you mean 'dropout'? Allowed: D, "
        "cross_layers, decoder_layers, dropout, encoders, heads, norm, zeroing",
        "s.yaml:11: model: heads must divide D, got D=192 and heads=5",
        f"s.yaml:12: pretrain.dataset: unknown dataset 'howto10m'; did you mean 'howto100m'? "
        f"Allowed: {sets}",
        "s.yaml:12: pretrain.lr: Input should be a valid number, unable to parse string as a "
        "number, got 'fast'",
        f"s.yaml:14: finetune.datasets: unknown dataset 'vattex'; did you mean 'vatex'? "
        f"Allowed: {sets}",
        "s.yaml:14: finetune.datasets: given twice: vatex",
        f"s.yaml:16: finetune.per_dataset: unknown dataset 'vatx'; did you mean 'vatex'? "
        f"Allowed: {sets}",
        "s.yaml:18: evaluate.metrics.0: unknown metric 'bleu'. Allowed: "
        + ", ".join(registry.names("metrics")),
        "s.yaml:21: table.published: unknown published table 'table9'; did you mean "
        "'table3_fusion'? Allowed: " + ", ".join(_published()),
    ]


def _published() -> list[str]:
    from avbench.config.shipped import published_names

    return sorted(published_names())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\n", "s.yaml:1: : give either rows or grid, got none"),
        ("nmae: a\n", "s.yaml:1: nmae: unknown field 'nmae'; did you mean 'name'? Allowed: "),
        ("name: a b\ngrid: {loss: [mbp]}\n", "name must be letters, digits, '-' and '_'"),
        ("name: a\ngrid: {loss: []}\n", "each axis of a grid, must not be empty"),
        ("name: a\nrows: 3\n", "s.yaml:2: rows: Input should be a valid list, got 3"),
    ],
)
def test_bad_skeletons(folder: Path, registry: Registry, text: str, message: str) -> None:
    assert message in complaint(folder, registry, text)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("label: two", "label: one", "s.yaml:5: label: two rows have the label 'one'"),
        (
            "howto100m}",
            "howto100m, loss: plain}",
            "s.yaml:7: pretrain.loss: is an axis; give it in rows, grid or defaults",
        ),
        ("tasks: [pcc]", "tasks: pcc", "s.yaml:6: tasks: must be a list, got 'pcc'"),
        ("tasks: [pcc]", "tasks: [pccc]", "pretrain.tasks.0: Input should be 'pcc' or 'pnc'"),
        (
            ", tasks: [pcc]}",
            "}\npreset: ./bare.yaml",
            "s.yaml:4: tasks: missing; give it in rows, grid or defaults",
        ),
        (
            "howto100m}",
            'howto100m, batch: "30"}',
            "s.yaml:7: pretrain.batch: must be a number, got '30'",
        ),
        (
            "howto100m}",
            "howto100m, measure_every: true}",
            "s.yaml:7: pretrain.measure_every: must be a number, got True",
        ),
        (
            "fusion: merged",
            "fusion: 3",
            "s.yaml:4: fusion: must be a name or a mapping with 'name', got 3",
        ),
        (
            "pretrain: {dataset: howto100m}",
            "pretrain: null\ngrid: null",
            "",
        ),
    ],
)
def test_small_mistakes(
    folder: Path, registry: Registry, old: str, new: str, message: str
) -> None:
    (folder / "bare.yaml").write_text("")
    text = SMALL.replace(old, new, 1)
    if not message:
        assert read(folder, registry, text).rows[0].settings.pretrain is None
        return
    assert message in complaint(folder, registry, text).splitlines()[0]


def test_an_axis_without_effect_is_refused(folder: Path, registry: Registry) -> None:
    text = SMALL.replace("{dataset: howto100m}", "null").replace("fusion: merged", "loss: mbp")
    text = text.replace("defaults: {", "defaults: {fusion: merged, ")
    assert complaint(folder, registry, text) == (
        "s.yaml:4: loss: belongs to pre-training, and this suite has none (pretrain is null)"
    )


def test_names_of_files(folder: Path, registry: Registry) -> None:
    with pytest.raises(SuiteError) as caught:
        read_suite("tabel3", registry)
    assert str(caught.value) == (
        "unknown suite 'tabel3'; did you mean 'table3'? Allowed: balance, fig5, flops, "
        "quickstart, smoke, table2, table3, table4, or the path of a .yaml file"
    )
    with pytest.raises(SuiteError, match=r"^suite file no/such\.yaml: no such file$"):
        read_suite("no/such.yaml", registry)
    assert complaint(folder, registry, SMALL + "preset: tniy\n") == (
        "s.yaml:9: preset: unknown preset 'tniy'; did you mean 'tiny'? Allowed: paper, tiny, "
        "or the path of a .yaml file"
    )
    assert complaint(folder, registry, SMALL, data="mine.yaml") == (
        f"--data: no such file: {folder / 'mine.yaml'}. Allowed: a data file, or 'embedded'"
    )


@pytest.mark.parametrize("asked", ["many", "0", "-1", "1,1", "1.5"])
def test_bad_seeds(folder: Path, registry: Registry, asked: str) -> None:
    assert complaint(folder, registry, SMALL, seeds=asked).startswith("--seeds: seeds: must ")


def test_with_names_what_there_is(folder: Path, registry: Registry) -> None:
    assert complaint(folder, registry, SMALL, additional=("mergd",)).startswith(
        "--with: unknown component 'mergd'; did you mean 'merged'? Allowed: "
    )


# ------------------------------------------------------------------ data files


def test_a_data_file(folder: Path, registry: Registry) -> None:
    (folder / "media" / "vx").mkdir(parents=True)
    (folder / "media" / "mine.yaml").write_text(
        "datasets:\n"
        "  howto100m: {reader: howto100m, root: vx, policy: fail, read: raw, min_seconds: 3}\n"
        "  vatex: {reader: vatex, root: ./vx, sound: {silent: drop}}\n"
    )
    suite = read(folder, registry, SMALL, data="media/mine.yaml")
    source = suite.sources["howto100m"]
    assert source.root == folder / "media" / "vx"
    assert (source.policy, source.read) == ("fail", "raw")
    assert source.reader.options["min_seconds"] == 3
    assert "root" not in source.reader.options
    assert suite.sources["vatex"].policy == "skip"
    assert source.sound == SoundPolicy()
    assert suite.sources["vatex"].sound == SoundPolicy(silent="drop")


def test_mistakes_in_a_data_file(folder: Path, registry: Registry) -> None:
    (folder / "mine.yaml").write_text(
        "datasets:\n"
        "  howto100m: {reader: howto100, root: .}\n"
        "  vatex: {reader: vatex, root: nowhere, policy: skp}\n"
        "  msrvtt: {reader: msrvtt}\n"
        "  youcook2: {reader: youcook2, root: ., sound: {muted: use, absent: zero}}\n"
    )
    readers = ", ".join(registry.names("datasets"))
    lines = complaint(folder, registry, SMALL, data="mine.yaml").splitlines()
    own = [line for line in lines if line.startswith("mine.yaml")]
    assert own == [
        "mine.yaml:2: datasets.howto100m.reader: unknown dataset reader 'howto100'; did you mean "
        f"'howto100m'? Allowed: {readers}",
        "mine.yaml:3: datasets.vatex.policy: Input should be 'skip' or 'fail', got 'skp'",
        "mine.yaml:4: datasets.msrvtt.root: is missing",
        "mine.yaml:5: datasets.youcook2.sound.absent: Input should be 'use', 'drop' or 'fail', "
        "got 'zero'",
        "mine.yaml:5: datasets.youcook2.sound: unknown field 'muted'. "
        "Allowed: absent, silent, undecodable",
    ]


def test_a_field_that_is_not_known_hides_no_other_problem(tmp_path, registry) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(
        "name: s\npresett: x\npreset: tiny\n"
        "rows:\n  - {fusion: mergd, loss: {name: mbp, alphaa: 3}}\n"
        "pretrain: {dataset: howto100m, steps: 3.5}\n",
        encoding="utf-8",
    )
    with pytest.raises(SuiteError) as error:
        read_suite(str(file), registry)
    found = str(error.value).splitlines()
    for part in ("'presett'", "'mergd'", "'alphaa'", "3.5"):
        assert sum(part in line for line in found) == 1


# ------------------------------------------------------------------ axes of a suite's own

SIZES = """
name: sizes
axes:
  size:
    small: {model.D: 64, model.heads: 4, model.encoders.audio.layers: 1}
    "2": {model.D: 96, model.heads: 4, fusion: {name: global, global_tokens: 2}}
  width: {narrow: {input.size: 48}}
grid: {size: [small, 2], loss: [plain, mbp]}
defaults: {fusion: merged, width: narrow}
pretrain: {dataset: howto100m}
finetune: null
"""


def test_a_value_of_an_own_axis_stands_for_a_bundle(folder: Path, registry: Registry) -> None:
    suite = read(folder, registry, SIZES)
    assert [row.label for row in suite.rows] == [
        "small, plain",
        "small, mbp",
        "2, plain",
        "2, mbp",
    ]
    small, two = suite.rows[0], suite.rows[2]
    assert (small.axes["size"], small.axes["width"]) == ("small", "narrow")
    assert (small.settings.model.D, two.settings.model.D) == (64, 96)
    assert (small.fusion.name, two.fusion.options["global_tokens"]) == ("merged", 2)
    assert two.axes["fusion"] == "global(global_tokens=2)"
    assert "model.D" not in small.axes  # the bundle's name says it
    audio = small.settings.model.encoders["audio"].options
    assert (audio["layers"], audio["patch_frames"]) == (1, 4)  # the preset's, kept
    assert two.settings.model.encoders["audio"].options["layers"] == 3
    assert {row.settings.input.size for row in suite.rows} == {48}


def test_a_dotted_axis_reaches_into_a_component(folder: Path, registry: Registry) -> None:
    more = SMALL.replace("label: one,", "label: one, model.encoders.audio.layers: 7,")
    one, two = read(folder, registry, more).rows
    assert one.settings.model.encoders["audio"].options["layers"] == 7
    assert two.settings.model.encoders["audio"].options["layers"] == 3
    assert one.axes["model.encoders.audio.layers"] == "7"
    wrong = SMALL.replace("label: one,", "label: one, model.encoders.audio.layrs: 7,")
    assert complaint(folder, registry, wrong).startswith(
        "s.yaml:4: model.encoders.audio.audio_transformer: unknown field 'layrs'; did you mean "
        "'layers'? Allowed: "
    )


def test_every_problem_of_own_axes_at_once(folder: Path, registry: Registry) -> None:
    text = """name: bad
axes:
  fusion: {a: {}}
  two words: {a: {}}
  empty: {}
  size:
    small: {model.D: 64, modle.heads: 4}
    large: 7
  deep: {yes: {model.D: 32}}
rows:
  - {label: a, size: smal}
  - {label: b, size: small}
  - {label: c, size: [small], deep: "yes"}
  - {label: d, deep: yes, model.D: 16}
defaults: {fusoin: merged}
"""
    assert complaint(folder, registry, text).splitlines() == [
        "s.yaml:3: axes.fusion: the name is reserved, got 'fusion'",
        "s.yaml:4: axes.two words: the name must be letters, digits and '_', got 'two words'",
        "s.yaml:5: axes.empty: must be a mapping of names of values to settings, got {}",
        "s.yaml:7: modle.heads: unknown axis 'modle.heads'; did you mean 'model.…'? Allowed: "
        "compute.…, decode.…, deep, evaluate.…, finetune.…, fusion, input.…, loss, "
        "modalities, model.…, pretrain.…, size, tasks, vocabulary.…, world.…",
        "s.yaml:8: axes.size.large: must be a mapping of settings by their paths, e.g. "
        "{model.D: 128}, got 7",
        "s.yaml:11: size: unknown value 'smal'; did you mean 'small'? Allowed: large, small",
        "s.yaml:13: size: unknown value '['small']'; did you mean 'small'? Allowed: large, small",
        "s.yaml:14: model.D: given by the row and by deep 'yes' (s.yaml:9)",
        "s.yaml:15: defaults.fusoin: unknown axis 'fusoin'; did you mean 'fusion'? Allowed: "
        "deep, fusion, loss, modalities, size, tasks",
    ]


# ------------------------------------------------------------------ suites without training

COSTS = """name: costs
preset: tiny
rows:
  - {label: one, fusion: merged, published: {flops_g: flops_merged}}
  - {label: two, fusion: global}
pretrain: null
finetune: null
table: {published: costs, costs: [flops_g, flops_base_g], base: {fusion: merged}, parts: [one]}
"""


def test_a_suite_of_costs_trains_nothing(folder: Path, registry: Registry) -> None:
    suite = read(folder, registry, COSTS)
    assert {(row.settings.pretrain, row.settings.finetune) for row in suite.rows} == {(None, ())}
    assert {(row.axes["loss"], row.axes["tasks"]) for row in suite.rows} == {("", "")}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "flops_g: flops_merged",
            "flops_g: flops_merge",
            "s.yaml:4: rows.0.published.flops_g: unknown quantity 'flops_merge'; did you mean "
            "'flops_merged'? Allowed: flops_local_global_merged, flops_merged, parameters, "
            "pretraining_gpus",
        ),
        (
            "flops_g: flops_merged",
            "macs_g: flops_merged",
            "s.yaml:4: rows.0.published: unknown cost 'macs_g'. Allowed: flops_g, params_m",
        ),
        (
            "base: {fusion: merged}",
            "base: {fusoin: merged}",
            "s.yaml:8: table.base: unknown axis 'fusoin'; did you mean 'fusion'? Allowed: "
            "fusion, loss, modalities, tasks",
        ),
        (
            "base: {fusion: merged}",
            "base: {}",
            "s.yaml:8: table.costs: flops_base_g needs table.base, e.g. {fusion: NAME}, got none",
        ),
        (
            "parts: [one]",
            "parts: [two, oen]",
            "s.yaml:8: table.parts: unknown row 'oen'; did you mean 'one'? Allowed: one, two",
        ),
    ],
)
def test_what_a_table_of_costs_refuses(
    folder: Path, registry: Registry, old: str, new: str, message: str
) -> None:
    assert complaint(folder, registry, COSTS.replace(old, new)) == message


PUBLISHED = """name: mine
preset: tiny
rows:
  - {label: one, loss: plain, published: {loss: plain, pcc: 1, pnc: 1}}
defaults: {fusion: merged, modalities: V+A, tasks: [pcc]}
table: {published: table2_pretraining}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "{loss: plain, pcc: 1, pnc: 1}",
            "{youcook2: {cider: 99}}",
            "s.yaml:4: rows.0.published: unknown column of table2_pretraining 'youcook2'. "
            "Allowed: dataset, loss, metric, pcc, pnc",
        ),
        (
            "{loss: plain, pcc",
            "{lss: plain, pcc",
            "s.yaml:4: rows.0.published: unknown column of table2_pretraining 'lss'; did you "
            "mean 'loss'? Allowed: dataset, loss, metric, pcc, pnc",
        ),
        (
            "{loss: plain, pcc",
            "{loss: plane, pcc",
            "s.yaml:4: rows.0.published.loss: unknown value 'plane'; did you mean 'plain'? "
            "Allowed: gblend, mbp, plain",
        ),
        (
            "{loss: plain, pcc: 1, pnc: 1}",
            "{loss: gblend, pcc: 1, pnc: 0}",
            "s.yaml:4: rows.0.published: no line of table2_pretraining has loss gblend, pcc 1, "
            "pnc 0 together",
        ),
        (
            "{loss: plain, pcc: 1, pnc: 1}",
            "{loss: plain}",
            "s.yaml:4: rows.0.published: several rows of table2_pretraining have loss plain; tell "
            "them apart by pcc, pnc",
        ),
        (
            "table: {published: table2_pretraining}",
            "",
            "s.yaml:4: rows.0.published: needs table.published, got none. Allowed: {tables}",
        ),
        (
            "table: {published: table2_pretraining}",
            "table: {published: table1_audio_relevance}",
            "s.yaml:6: table.published: table1_audio_relevance is no table of rows with figures; "
            "its columns are dataset, scr_percent, ars",
        ),
    ],
)
def test_published_must_select_figures_of_the_published_table(
    folder: Path, registry: Registry, old: str, new: str, message: str
) -> None:
    assert PUBLISHED.count(old) == 1
    found = complaint(folder, registry, PUBLISHED.replace(old, new))
    assert found == message.replace("{tables}", ", ".join(_published()))


def test_published_may_choose_one_dataset_of_a_row(folder: Path, registry: Registry) -> None:
    one = PUBLISHED.replace("pnc: 1}", "pnc: 1, dataset: VATEX}")
    (row,) = read(folder, registry, one).rows
    assert row.published["dataset"] == "VATEX"


def test_the_suite_of_costs_has_every_fusion_in_both_readings(registry: Registry) -> None:
    suite = read_suite("flops", registry)
    found = {(row.fusion.name, row.axes["audio_tokens"]) for row in suite.rows}
    assert found == {(name, n) for name in registry.names("fusions") for n in ("64", "256")}
    for row in suite.rows:
        audio = row.settings.model.encoders["audio"].options
        tokens = row.settings.input.mel_frames // audio["patch_frames"]
        assert tokens == int(row.axes["audio_tokens"])
        assert tokens // audio["pool"] == 64  # N_a, whatever the reading
