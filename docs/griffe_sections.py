"""Sections of docstrings that follow each other without a blank line, as griffe needs them: with one."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_SECTION = re.compile(r"(?<!\n)\n([ ]*(?:Args|Returns|Yields|Raises|Attributes|Example|Examples):\n)")


class SeparateSections(Extension):
    """Puts a blank line before each section of every docstring."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Separate the sections of an object's docstring.

        Args:
            obj: module, class, function or attribute that griffe has read.
        """
        if obj.docstring is not None:
            obj.docstring.value = _SECTION.sub(r"\n\n\1", obj.docstring.value)
