"""The list of subcommands."""

from pathlib import Path

import pytest

from m3ray.commands import jobs
from m3ray.commands.catalogue import COMMANDS

TOP = Path(__file__).parents[2]


def test_every_job_is_a_subcommand_of_its_name():
    assert {name for name, c in COMMANDS.items() if c.job} == {path.stem for path in (TOP / "jobs").glob("*.py")}
    assert all(c.job in (None, name) for name, c in COMMANDS.items())


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda c: c.name)
def test_a_subcommand_has_what_carries_it_out_and_a_line_of_a_terminal(command):
    assert len(command.line) <= 75
    assert command.job is None or callable(getattr(jobs, command.job))
