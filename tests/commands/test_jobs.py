"""Jobs as functions of a checked request."""

from types import SimpleNamespace

import pytest

from m3ray.commands import jobs
from m3ray.config.options import ReportOptions
from m3ray.pipelines import jobs as pipelines


@pytest.mark.parametrize("name", ["ablate", "evaluate", "extract", "predict", "reproduce", "train", "tune"])
def test_a_job_is_the_pipeline_of_its_name_and_a_dry_one_builds_no_report(monkeypatch, name):
    called = []
    monkeypatch.setattr(pipelines, name, called.append)
    monkeypatch.setattr("m3ray.reports.page.build_report", lambda *_: called.append("report"))
    request = SimpleNamespace(options=SimpleNamespace(dry_run=True, out="o", price=(), carbon=0.37))
    getattr(jobs, name)(request)
    assert called == [request]


def test_studies_end_with_the_report(monkeypatch):
    called = []
    monkeypatch.setattr(pipelines, "ablate", called.append)
    monkeypatch.setattr("m3ray.reports.page.build_report", lambda *arguments: called.append(arguments))
    request = SimpleNamespace(options=SimpleNamespace(dry_run=False, out="o", price=("CPU=0.04",), carbon=0.37))
    jobs.ablate(request)
    assert called[0] is request
    assert called[1][0] == "o"
    assert called[1][2] == 0.37


def test_a_dry_report_tells_what_it_would_make(capsys):
    for others, end in (((), "page of what the root holds"), (("b",), "Figures 2, 6 and 7 of a, b beside one another")):
        jobs.report(SimpleNamespace(options=ReportOptions(out="a", others=others, dry_run=True)))
        assert capsys.readouterr().out.endswith(f"{end}\n")


def test_several_roots_are_put_beside_one_another(monkeypatch):
    called = []
    monkeypatch.setattr("m3ray.reports.beside.build_report_beside", called.append)
    jobs.report(SimpleNamespace(options=ReportOptions(out="a", others=("b",))))
    assert called == [("a", "b")]
