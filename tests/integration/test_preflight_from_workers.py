"""Preflight checks from the workers, whose rights are not the driver's: before the first clip."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow]
HERE = Path(__file__).parent
TOP = HERE.parents[1]


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rights")
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS" and not name.startswith("AWS_")}
    env["PYTHONPATH"] = os.pathsep.join(str(folder) for folder in (TOP / "benchmarks", TOP / "tests", TOP))
    command = [sys.executable, str(HERE / "workers_rights.py"), str(folder / "clips")]
    process = subprocess.run(
        command, env={**env, "RAY_AUTH_MODE": "disabled"}, capture_output=True, text=True, timeout=1200, check=False
    )
    lines = [
        json.loads(line.removeprefix("RESULT ")) for line in process.stdout.splitlines() if line.startswith("RESULT ")
    ]
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    return {result.pop("case"): result for result in lines}


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("no_reading", "cannot read s3://videos/v/0.mp4: 403 AccessDenied"),
        ("no_writing", "cannot write s3://roots/no_writing/runs/write-test-"),
        ("no_deleting", "cannot delete s3://roots/no_deleting/runs/write-test-"),
    ],
)
def test_what_the_workers_may_not_do_is_one_line_before_the_first_clip(cases, case, words):
    """Before, the message spoke of HOG's PCA, and came of its first clips."""
    result = cases[case]
    assert result["status"] == 2
    assert result["error"].startswith("preflight: the workers of ")
    assert "(2 CPUs, " in result["error"], "the kind of the node"
    assert words in result["error"]
    assert "403 AccessDenied" in result["error"]
    assert "though the driver can: give the workers' role s3:" in result["error"]
    assert "\n" not in result["error"]
    assert not result["hog"]
    assert result["rejected"] == 0
    assert not any("hog" in line for line in result["log"])


def test_the_advice_names_the_right_that_lacks(cases):
    assert "give the workers' role s3:GetObject on arn:aws:s3:::videos/*" in cases["no_reading"]["error"]
    assert "give the workers' role s3:PutObject on arn:aws:s3:::roots/*" in cases["no_writing"]["error"]
    assert "give the workers' role s3:DeleteObject on arn:aws:s3:::roots/*" in cases["no_deleting"]["error"]


def test_a_node_that_comes_later_stops_the_job_with_the_same_words_and_rejects_nothing(cases):
    result = cases["later_node"]
    assert result["status"] == 1
    assert "cannot read s3://videos/v/0.mp4: 403 AccessDenied" in result["error"]
    assert "give the workers' role s3:GetObject on arn:aws:s3:::videos/*" in result["error"]
    assert "\n" not in result["error"]
    assert result["rejected"] == 0


def test_one_clip_that_is_forbidden_is_no_matter_of_rights(cases):
    result = cases["one_clip_denied"]
    assert result["rejected"] == 1, "a row that the next job tries again"
    assert any("5 clips have features, 1 rejected" in line for line in result["log"])


def test_a_driver_without_rights_is_told_and_the_job_goes_on(cases):
    result = cases["driver_cannot_read"]
    assert (result["status"], result["rejected"]) == (0, 0)
    (line,) = [line for line in result["log"] if line.startswith("preflight: the driver")]
    assert "cannot read s3://videos/v/" in line
    assert "403 AccessDenied" in line
    assert "though the workers can: the job goes on" in line
    assert "give the driver's role s3:GetObject on arn:aws:s3:::videos/*" in line


def test_workers_of_a_ray_that_somebody_else_started_say_that_the_requester_pays(cases):
    result = cases["requester_pays"]
    assert (result["status"], result["rejected"]) == (0, 0)
    assert len(result["videos"]) > 6, "the clips, and the preflight's own"
    assert {payer for _, payer in result["videos"]} == {"requester"}
    assert set(result["roots"]) == {None}


def test_no_test_object_is_left(cases):
    left = {case: result["left"] for case, result in cases.items() if result["left"]}
    assert set(left) <= {"no_deleting"}, "it may not be deleted there"
