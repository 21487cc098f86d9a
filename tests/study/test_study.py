"""Where a study's trials lie: the same folder for the same work, another one for any other."""

from dataclasses import replace

import pytest
from planted import planted

from m3ray.config.presets import finetune_small
from m3ray.features.load import StudyFeatures
from m3ray.storage.root import Root
from m3ray.study.study import Study
from m3ray.study.variants import Variant, make_finetune_variant

VARIANT = Variant("M3-S, All  of It", ("raw", "scene"))


@pytest.fixture
def study(tmp_path):
    folders = {"raw": "raw-1", "scene": "scene-1", "event": "event-1"}
    return Study(Root(str(tmp_path)), "ablation", StudyFeatures(planted(50), folders, "key"), (0, 1))


def test_a_trial_s_folder_has_a_name_that_a_bucket_takes(study):
    *above, name = study.trial_folder(VARIANT)
    assert above == ["study", "ablation", "parts"]
    assert name.rpartition("-")[0] == "m3-s-all-of-it"
    assert len(name.rpartition("-")[2]) == 10
    assert study.trial_folder(VARIANT) == study.trial_folder(replace(VARIANT))


def test_a_trial_s_folder_is_that_of_earlier_releases(study):
    """Taken before fields were renamed."""
    assert study.trial_folder(VARIANT)[-1] == "m3-s-all-of-it-cf255a6022"
    unfrozen = make_finetune_variant(Variant("M3-S", ("raw", "scene")), finetune_small())
    assert study.trial_folder(unfrozen)[-1] == "m3-s-unfrozen-c5208db32c"


@pytest.mark.parametrize(
    "change",
    [
        lambda study: replace(study, seeds=(0, 2)),
        lambda study: replace(study, loaded=replace(study.loaded, key="other clips")),
        lambda study: replace(study, loaded=replace(study.loaded, folders={**study.loaded.folders, "raw": "raw-2"})),
    ],
    ids=["seeds", "clips", "features"],
)
def test_other_work_has_another_folder(study, change):
    assert change(study).trial_folder(VARIANT) != study.trial_folder(VARIANT)


def test_a_tier_that_the_variant_does_not_see_changes_nothing(study):
    others = {**study.loaded.folders, "event": "event-2"}
    assert replace(study, loaded=replace(study.loaded, folders=others)).trial_folder(VARIANT) == study.trial_folder(
        VARIANT
    )


def test_how_a_finetuning_is_laid_out_does_not_change_its_folder(study):
    unfrozen = make_finetune_variant(VARIANT, finetune_small())
    for layout in ({"micro_batch": 2, "workers": 8}, {"cache": "memory", "keep": 5, "checkpoint_minutes": 1.0}):
        other = replace(unfrozen, finetuning=replace(unfrozen.finetuning, **layout))
        assert study.trial_folder(other) == study.trial_folder(unfrozen)
    slower = replace(unfrozen, finetuning=replace(unfrozen.finetuning, epochs=9))
    assert study.trial_folder(slower) != study.trial_folder(unfrozen)


def test_further_splits_have_folders_of_their_own(study):
    first, other = study.splits_folder(VARIANT, "a"), study.splits_folder(VARIANT, "b")
    assert first[:3] == ("study", "ablation", "parts")
    assert first[-1].startswith("m3-s-all-of-it-splits-")
    assert len({first, other, study.trial_folder(VARIANT)}) == 3
    assert replace(study, seeds=(5,)).splits_folder(VARIANT, "a") != first


def test_similarity_of_further_splits_is_known_by_its_tier_and_the_splits(study):
    folders = {**study.loaded.folders, "similarity": "s-1", "similarity:kde_labels": "k-1"}
    study = replace(study, loaded=replace(study.loaded, folders=folders))
    first = study.similarity_folder("similarity:kde_labels", "a")
    assert first[-1].startswith("similarity-kde-labels-splits-")
    assert first != study.similarity_folder("similarity:kde_labels", "b")
    assert first != study.similarity_folder("similarity", "a")
    assert replace(study, seeds=(5,)).similarity_folder("similarity:kde_labels", "a") == first, (
        "no run has a part in it"
    )
