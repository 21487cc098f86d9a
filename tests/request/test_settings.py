"""Settings of the tiers and of trainings, from a job's options."""

import json

import pytest

from m3ray.config import TierConfigs, TrainConfig
from m3ray.config.options import AblateOptions, ExtractOptions, ReproduceOptions, TrainOptions, TuneOptions
from m3ray.config.presets import TIER_PRESETS, alone_training, authors_videomem_training, train_as_demo
from m3ray.errors import ConfigError
from m3ray.request.settings import (
    check_config,
    choose_study_tiers,
    find_row_training,
    read_training,
    resolve_tier_configs,
)
from m3ray.storage.dataset_record import make_record
from m3ray.storage.root import Root
from m3ray.storage.root_record import write_record


@pytest.mark.parametrize(
    ("options", "preset"),
    [
        ({"dataset": "demo"}, "demo"),
        ({"dataset": "folder"}, "default"),
        ({"dataset": "demo", "preset": "paper"}, "paper"),
        ({"dataset": "folder", "preset": "demo"}, "demo"),
        ({"dataset": "folder", "preset": "authors"}, "authors"),
    ],
)
def test_the_preset_is_the_options_or_the_data_set_s(options, preset):
    assert resolve_tier_configs(ExtractOptions(out="o", **options)) == TIER_PRESETS[preset]()


def test_options_override_the_preset_and_nothing_else_changes():
    base = TIER_PRESETS["default"]()
    options = ExtractOptions(
        out="o", dataset="folder", fps=2.5, network="ir", precision="float32", measure="kde", seed=7
    )
    configs = resolve_tier_configs(options)
    assert (configs.decode.fps, configs.decode.size) == (2.5, base.decode.size)
    assert (configs.event.network, configs.similarity.measure, configs.similarity.seed) == ("ir", "kde", 7)
    assert {configs.scene.precision, configs.event.precision, configs.vision.precision} == {"float32"}
    assert isinstance(configs, TierConfigs)
    assert configs.raw == base.raw


def test_flow_a_time_is_scaled_to_the_sampling_rate():
    for fps, expected in ((None, 15.0), (5.0, 5.0)):
        options = ExtractOptions(out="o", dataset="folder", fps=fps, flow_per="time")
        assert resolve_tier_configs(options).raw.flow_fps == expected
    assert resolve_tier_configs(ExtractOptions(out="o", dataset="folder")).raw.flow_fps is None


def test_training_settings_come_from_the_file_or_else_the_command_line(tmp_path):
    settings = read_training(TrainOptions(out="o", loss="mse", epochs=3))
    assert (settings.loss, settings.epochs) == ("mse", 3)
    path = tmp_path / "best.json"
    path.write_text(json.dumps({"training": {"loss": "spearman", "epochs": 7}}))
    settings = read_training(TrainOptions(out="o", loss="mse", epochs=3, config=str(path)))
    assert (settings.loss, settings.epochs) == ("spearman", 7)
    with pytest.raises(ConfigError, match="no such file"):
        read_training(TrainOptions(out="o", config=str(tmp_path / "none.json")))


# The authors' two published commands: loss, learning rate, step of the schedule.
@pytest.mark.parametrize(
    ("dataset", "expected"),
    [("memento10k", ("mse", 1e-3, 5)), ("videomem", ("mse_to_spearman", 0.0004057400860408805, 8))],
)
def test_the_authors_preset_trains_by_their_commands(dataset, expected):
    settings = read_training(TrainOptions(out="o", dataset=dataset, preset="authors"))
    assert (settings.loss, settings.learning_rate, settings.step_size) == expected
    assert (settings.strength, settings.report, settings.tails_centre) == (1.0, "best", "data")
    other = read_training(TrainOptions(out="o", dataset=dataset, preset="authors", loss="spearman"))
    assert (other.loss, other.learning_rate) == ("spearman", expected[1])
    paper = read_training(TrainOptions(out="o", dataset=dataset))
    assert paper == TrainConfig(loss="mse_tails", tails_centre="data")


@pytest.mark.parametrize(
    ("recorded", "asked", "authors"),
    [
        ("authors", "auto", True),
        ("authors", "default", False),
        ("auto", "auto", False),
        ("auto", "authors", True),
        (None, "auto", False),
        (None, "authors", True),
    ],
)
def test_a_study_trains_by_the_root_s_preset_or_the_one_that_is_asked_for(tmp_path, recorded, asked, authors):
    root = Root(str(tmp_path))
    if recorded is not None:
        options = ExtractOptions(out=str(tmp_path), dataset="videomem", root=str(tmp_path), preset=recorded)
        write_record(root, make_record(options))
    found = find_row_training(root, asked)(alone_training())
    if not authors:
        assert found == alone_training()
        return
    assert (found.hidden, found.loss, found.epochs) == ((64,), "mse", 20), "the row's own"
    assert (found.report, found.strength) == ("best", 1.0)
    rate = authors_videomem_training().learning_rate if recorded else 1e-3
    assert found.learning_rate == rate


@pytest.mark.parametrize(
    ("dataset", "recorded", "asked", "small"),
    [
        ("demo", "auto", "auto", True),
        ("demo", "auto", "default", False),
        ("demo", "paper", "auto", False),
        ("folder", "demo", "auto", True),
        ("folder", "auto", "auto", False),
    ],
)
def test_the_demo_s_rows_are_trained_small_unless_another_preset_is_asked_for(
    tmp_path, dataset, recorded, asked, small
):
    root = Root(str(tmp_path))
    source = None if dataset == "demo" else str(tmp_path)
    write_record(root, make_record(ExtractOptions(out=root.uri, dataset=dataset, root=source, preset=recorded)))
    found = find_row_training(root, asked)(TrainConfig())
    assert found == (train_as_demo(TrainConfig()) if small else TrainConfig())


def test_a_loss_that_was_asked_for_is_every_row_s_and_centred_as_its_preset_is(tmp_path):
    for loss, centre in (("mse_tails", "data"), ("spearman", "batch")):
        found = find_row_training(Root(str(tmp_path)), "auto", loss)(alone_training())
        assert (found.hidden, found.loss, found.tails_centre) == ((64,), loss, centre)


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        (AblateOptions, {"fit": "select"}, "--fit select"),
        (ReproduceOptions, {"fit": "each"}, "--fit each"),
        (TrainOptions, {"fit": "select"}, "--fit select"),
        (TuneOptions, {"fit": "select"}, "--fit select"),
        (AblateOptions, {"loss": "mse"}, "--loss mse"),
    ],
)
def test_settings_are_a_file_s_or_chosen_not_both(tmp_path, kind, given, words):
    path = tmp_path / "best.json"
    path.write_text(json.dumps({"training": {"epochs": 7}}))
    check_config(kind(out="o", config=str(path)))
    with pytest.raises(ConfigError, match=f"--config .* and {words}: the file has the settings: leave one of them out"):
        check_config(kind(out="o", config=str(path), **given))


def test_a_study_sees_the_tiers_that_it_names_and_with_similarity_its_measures():
    held = ["raw", "scene", "text", "similarity", "similarity:kde"]

    def choose(*tiers):
        return choose_study_tiers(held, AblateOptions(out="o", tiers=tiers))

    assert choose() == held
    assert choose("text", "raw") == ["raw", "text"]
    assert choose("similarity", "text") == ["text", "similarity", "similarity:kde"]
    reproduce = ReproduceOptions(out="o", tiers=("raw",))
    assert choose_study_tiers(held, reproduce) == held, "what it computes, not what it sees"
