"""Options of the subcommands that are no jobs."""

from m3ray.cli import parse_options
from m3ray.commands.options import DemoOptions, ScoreOptions
from m3ray.config.options import ReproduceOptions


def test_what_is_scored_may_be_called_anything():
    names = ["a b.mp4", "50%.mp4", "#1.mp4", "s3://bucket/x/"]
    assert parse_options(ScoreOptions, "", ["--json", *names]).what == tuple(names)
    assert parse_options(ScoreOptions, "", ["--", "--odd.mp4"]).what == ("--odd.mp4",)
    assert parse_options(ScoreOptions, "", []).what == ()


def test_the_demo_has_the_root_of_reproduce():
    assert DemoOptions().out == ReproduceOptions().out
