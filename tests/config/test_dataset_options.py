"""The sources of clips that options name are those that are read."""

from typing import get_args

from m3ray.config.dataset_options import Dataset, NewClips
from m3ray.config.options import TargetOptions, WeighOptions
from m3ray.datasets.registry import LISTERS


def test_every_source_of_clips_has_a_reader_and_the_demo_is_drawn():
    assert set(get_args(NewClips)) == set(LISTERS)
    assert get_args(Dataset) == ("demo", *get_args(NewClips))


def test_a_study_predicts_the_root_s_own_target_and_weighs_all_clips_alike_by_default():
    assert (TargetOptions().target, WeighOptions().weigh) == (None, "none")
