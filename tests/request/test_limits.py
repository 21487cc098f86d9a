"""Jobs that read clips again do so under the limits that the clips were extracted under."""

import dataclasses
import sys

import pytest
from made_roots import made_root

from m3ray.cli import main
from m3ray.config import LimitsConfig, as_json
from m3ray.config.options import AblateOptions, TuneOptions
from m3ray.request.checks import check_request
from m3ray.request.limits import apply_recorded_limits
from m3ray.storage.dry_root import DryRoot

RAISED = LimitsConfig(max_seconds=7200.0, max_bytes=8 * 1024**3)


def root_extracted_under(folder, limits):
    """A root with features, whose record names the limits that its clips were extracted under."""
    root = made_root(folder, rows=20)
    record = {"m3ray": 1, "dataset": "folder", "source": "/videos", "settings": {"limits": as_json(limits)}}
    root.write_json(record, "dataset.json")
    return root


@pytest.mark.parametrize("kind", [AblateOptions, TuneOptions])
def test_a_study_reads_clips_under_the_limits_that_they_were_extracted_under(kind, tmp_path):
    root = root_extracted_under(tmp_path, RAISED)
    assert check_request(kind(out=root.uri)).options.limits == RAISED
    own = LimitsConfig(max_seconds=1.0)
    assert check_request(kind(out=root.uri, limits=own)).options.limits == own
    root.write_json({"m3ray": 1, "dataset": "folder", "source": "/videos", "settings": {}}, "dataset.json")
    assert check_request(kind(out=root.uri)).options.limits == LimitsConfig(), "an older record names none"


@pytest.mark.parametrize("kind", [AblateOptions, TuneOptions])
def test_limits_on_the_command_line_override_those_of_the_root_one_by_one(kind, tmp_path, monkeypatch):
    root = root_extracted_under(tmp_path, RAISED)
    default = LimitsConfig().max_seconds
    arguments = ["job", "--out", root.uri, "--limits.max-seconds", str(default)]
    monkeypatch.setattr(sys, "argv", [*arguments, "--dry-run"])
    requests = []
    assert main(kind, requests.append, "A job.") == 0
    assert requests[0].options.limits == dataclasses.replace(RAISED, max_seconds=default)


def test_limits_are_taken_once_and_a_root_without_a_record_has_the_default_ones(tmp_path):
    root = root_extracted_under(tmp_path / "root", RAISED)
    once = apply_recorded_limits(AblateOptions(out=root.uri), DryRoot(root.uri))
    root_extracted_under(tmp_path / "root", LimitsConfig(max_seconds=1.0))
    assert apply_recorded_limits(once, DryRoot(root.uri)) is once
    none = DryRoot(str(tmp_path / "none"))
    assert apply_recorded_limits(AblateOptions(out=none.uri), none).limits == LimitsConfig()
