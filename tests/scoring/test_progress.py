"""The progress bar: where there is something to wait for, and somebody who looks."""

import sys
from types import SimpleNamespace

from m3ray.scoring import progress
from m3ray.scoring.progress import is_notebook, show_progress


def test_items_pass_with_and_without_a_bar(capsys):
    assert list(show_progress(range(9), wanted=False)) == [*range(9)]
    assert capsys.readouterr().err == ""
    assert list(show_progress(range(9), wanted=True)) == [*range(9)]
    assert "9/9" in capsys.readouterr().err


def test_by_itself_it_shows_in_a_terminal_for_more_than_a_few(monkeypatch, capsys):
    items = [*range(9)]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    assert show_progress(items, wanted=None) is items, "a file or a pipe"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert show_progress(items[:3], wanted=None) == items[:3]
    assert list(show_progress(items, wanted=None)) == items
    assert list(show_progress(iter(items), wanted=None)) == items
    assert "9/9" in capsys.readouterr().err


def test_a_notebook_is_known_by_its_shell(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not is_notebook()
    for name, expected in (("ZMQInteractiveShell", True), ("TerminalInteractiveShell", False)):
        shell = type(name, (), {})()
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda shell=shell: shell))
        assert progress.is_notebook() is expected
