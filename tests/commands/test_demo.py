"""The demo."""

import pytest

from m3ray import cli
from m3ray.commands.demo import describe_results, run
from m3ray.commands.options import DemoOptions


@pytest.mark.parametrize(("status", "told"), [(0, True), (1, False)])
def test_it_is_reproduce_and_then_tells_where_to_look(monkeypatch, capsys, status, told):
    given = []
    monkeypatch.setattr(cli, "main", lambda *arguments: given.append(arguments) or status)
    assert run(DemoOptions(out="o", limit=12)) == status
    assert given[0][3] == ["--out", "o", "--limit", "12"]
    assert ("o/report/index.html" in capsys.readouterr().out) == told


def test_places_are_below_the_root():
    lines = describe_results("s3://b/o/").splitlines()
    assert all(line.startswith("  s3://b/o/") for line in lines[1:])
