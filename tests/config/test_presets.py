"""Presets against the paper's Table 5 and the devices that they are for."""

import pytest

from m3ray.config import presets
from m3ray.config.serialization import as_json


def test_the_paper_s_trainings():
    """The supplement, Table 5 and sections of Tables 1 and 4."""
    memento10k = presets.memento10k_training()
    assert (memento10k.hidden, memento10k.epochs, memento10k.batch) == ((512, 64), 20, 32)
    assert (memento10k.learning_rate, memento10k.weight_decay) == (1e-3, 1e-5)
    assert (memento10k.step_size, memento10k.gamma) == (5, 0.2)
    assert [t().loss for t in (presets.ablation_training, presets.memento10k_training, presets.videomem_training)] == [
        "mse",
        "mse_tails",
        "mse_to_spearman",
    ]
    assert presets.alone_training().hidden == presets.measure_training().hidden == (64,)
    assert (presets.alone_training().epochs, presets.measure_training().epochs) == (20, 15)


def test_tier_presets_differ_where_they_say():
    paper, default, demo = (as_json(presets.TIER_PRESETS[name]()) for name in ("paper", "default", "demo"))
    assert (paper["similarity"].pop("eps_scene"), paper["similarity"].pop("eps_event")) == (1.25, 0.9)
    assert (default["similarity"].pop("eps_scene"), default["similarity"].pop("eps_event")) == ("auto", "auto")
    assert paper == default
    assert (demo["decode"]["fps"], demo["similarity"]["kde_fewest"]) == (4.0, 8)
    assert (demo["scene"]["size"], demo["event"]["size"]) == (64, 64)
    assert not {"size"} & (default["scene"].keys() | default["event"].keys()), "older fingerprints stay"


def test_the_demo_s_rows_are_small_and_a_measure_alone_is_as_in_the_paper():
    small = presets.train_as_demo(presets.ablation_training())
    assert (small.hidden, small.epochs, small.step_size, small.loss) == ((64,), 50, 20, "mse")
    assert presets.train_as_demo(presets.measure_training()) == presets.measure_training()


@pytest.mark.parametrize(("name", "workers", "steps"), [("small", 1, 1), ("gpu80", 1, 2), ("gpu24x8", 8, 1)])
def test_finetuning_presets_accumulate_as_they_say(name, workers, steps):
    preset = presets.FINETUNE_PRESETS[name]()
    assert (preset.workers or 1) == workers
    assert preset.batch == workers * preset.micro_batch * steps


def test_finetuning_presets_differ_in_their_layout_alone():
    """One trial is cached for all of them, as none changes the outcome."""
    gpu80, gpu24x8 = presets.finetune_gpu80(), presets.finetune_gpu24x8()
    assert gpu80.outcome_settings() == gpu24x8.outcome_settings()
    assert (gpu80.checkpointing, gpu24x8.checkpointing) == ("auto", "auto"), "by the memory that there is"
    assert presets.finetune_small().checkpointing is False


def test_published_weights_have_an_address_a_network():
    assert set(presets.PUBLISHED) == {"scene", "event:ip", "event:ir"}
    assert all(address.startswith("http") and address.endswith(".pth") for address in presets.PUBLISHED.values())


def test_the_authors_preset_is_what_their_code_holds():
    """Their config.py and gen_features.py: facts, each named in docs/differences.md."""
    theirs = presets.TIER_PRESETS["authors"]()
    similarity = theirs.similarity
    assert (similarity.eps_scene, similarity.eps_event) == (1.25, 0.9)
    assert (similarity.kde_fewest, similarity.kde_clusters, similarity.kde_kernel) == (780, 20, "epanechnikov")
    assert (similarity.fractional_of, similarity.cosine_of) == ("mean", "mean")
    assert not similarity.leave_one_out
    assert not similarity.dbscan_noise_column
    assert (theirs.raw.blur_half_width, theirs.raw.blur_logarithm) == (60, "natural")
    assert as_json(theirs)["decode"] == as_json(presets.paper_tiers())["decode"]


def test_a_row_trained_as_the_authors_keeps_its_layers_loss_and_epochs():
    row = presets.measure_training()
    found = presets.train_as_authors(row, "videomem")
    assert (found.hidden, found.loss, found.epochs) == (row.hidden, row.loss, row.epochs)
    assert found.gamma == pytest.approx(0.28521, abs=1e-5)
    assert presets.train_as_authors(row, "table").learning_rate == 1e-3
