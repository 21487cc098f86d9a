"""Short help of subcommands."""

from dataclasses import dataclass, field

import pytest

from m3ray.commands.catalogue import COMMANDS, Command
from m3ray.commands.short_help import WIDTH, count_options, describe_briefly, find_option, load_options

EVERY = pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda c: c.name)


@dataclass(frozen=True)
class Group:
    size: int = 3
    """Size of it. More of it."""


@dataclass(frozen=True)
class Base:
    out: str
    """Where to; a second part. A second sentence."""
    quiet: bool = False
    """No words."""


@dataclass(frozen=True)
class Made(Base):
    tags: tuple[str, ...] = ("a", "b")
    """Tags."""
    group: Group = field(default_factory=Group)
    """A group."""


@EVERY
def test_every_common_option_exists_and_all_fit_a_screen(command):
    options = load_options(command)
    for path in command.common:
        find_option(options, path)
    text = describe_briefly(command).splitlines()
    assert len(text) <= 40
    assert max(map(len, text)) <= WIDTH
    assert len(command.common) <= 12


@EVERY
def test_every_common_option_is_explained(command):
    text = describe_briefly(command).splitlines()
    for path in command.common:
        head = path.replace("_", "-")
        at = next(n for n, line in enumerate(text) if line.startswith((f"  --{head}", f"  {path.upper()}")))
        assert len(text[at].split("   ", 1)[-1].strip()) > 5, text[at]


def test_values_defaults_and_the_first_sentence_of_inherited_docstrings():
    command = Command("made", "g", "make it", f"{__name__}:Made", ("out", "quiet", "tags", "group.size"))
    assert describe_brief_of(command) == [
        "usage: m3ray made --out OUT [options]",
        "",
        "Make it.",
        "",
        "  --out OUT               Where to; a second part.",
        "  --quiet                 No words.",
        "  --tags TAGS ...         Tags. Default: a b.",
        "  --group.size N          Size of it. Default: 3.",
        "  --help                  This text.",
    ]


def describe_brief_of(command):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("m3ray.commands.short_help.load_options", lambda _: Made)
        return describe_briefly(command).splitlines()


def test_options_of_groups_are_counted():
    assert count_options(Made) == 4


def test_an_option_that_is_none_is_an_error():
    with pytest.raises(KeyError):
        find_option(Made, "group.colour")
