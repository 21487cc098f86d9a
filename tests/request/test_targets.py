"""What is to be predicted and weighed, checked before anything is computed."""

import pytest
from made_viewers import made_viewed_root

from m3ray.config.options import AblateOptions, TuneOptions
from m3ray.errors import ConfigError
from m3ray.request.checks import check_request
from m3ray.request.targets import check_targets
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.root import Root


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = made_viewed_root(tmp_path_factory.mktemp("viewed"), rows=40)
    table = read_catalogue(root).drop(["alpha", "false_alarm_responses"])
    root.write_table(table, "catalogue.parquet")
    return root


@pytest.mark.parametrize("kind", [AblateOptions, TuneOptions])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": "alpha"}, "--target alpha: the column is missing: .* has score, hit_rate, .*, corrected, d_prime"),
        ({"target": "false_alarm_rate", "weigh": "responses"}, "give a column false_alarm_responses"),
        ({"weigh": "responses", "unfrozen": "small"}, "weighs all clips alike: leave one of them out"),
        ({"target": "long"}, "--target long: .* is no VideoMem, which alone has a long-term score: leave --target out"),
    ],
)
def test_a_job_is_refused_before_it_begins(root, kind, settings, message):
    with pytest.raises(ConfigError, match=message):
        check_request(kind(out=root.path(), **settings))


@pytest.mark.parametrize("settings", [{}, {"target": "d_prime"}, {"weigh": "responses"}, {"tables": (3, 6)}])
def test_what_the_data_have_passes(root, settings):
    check_request(AblateOptions(out=root.path(), **settings))


def test_a_study_without_a_table_is_refused(root):
    with pytest.raises(
        ConfigError, match="--tables: expected at least one number of 1, 2, 3, 4, 6, 7: leave --tables out"
    ):
        check_request(AblateOptions(out=root.path(), tables=()))


@pytest.mark.parametrize(("held", "asked"), [("short", "long"), ("long", "short")])
def test_a_root_holds_one_of_videomem_s_two_scores(root, tmp_path, held, asked):
    kept = Root(str(tmp_path))
    kept.write_json({"m3ray": "0", "dataset": "videomem", "settings": {"target": held}}, "dataset.json")
    clips = read_catalogue(root)
    with pytest.raises(ConfigError, match=f"--target {asked}: .* was made with --target {held}, .* give another --out"):
        check_targets(kept, clips, AblateOptions(out=kept.path(), target=asked))
    check_targets(kept, clips, AblateOptions(out=kept.path(), target=held))


def test_the_demo_s_clips_are_drawn_later(root):
    check_targets(root, None, AblateOptions(out=root.path(), target="alpha"))
