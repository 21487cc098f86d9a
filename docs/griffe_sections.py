"""Docstrings as griffe needs them: a blank line before each section, and fields of a NamedTuple as attributes."""

from __future__ import annotations

import re
from typing import Any

from griffe import Class, Extension, Object

_SECTION = re.compile(r"(?<!\n)\n([ ]*(?:Args|Returns|Yields|Raises|Attributes|Example|Examples):\n)")


class SeparateSections(Extension):
    """Puts a blank line before each section of every docstring, and names the fields of a NamedTuple attributes."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Separate the sections of an object's docstring.

        Args:
            obj: module, class, function or attribute that griffe has read.
        """
        if obj.docstring is not None:
            obj.docstring.value = _SECTION.sub(r"\n\n\1", obj.docstring.value)
            if isinstance(obj, Class) and "NamedTuple" in map(str, obj.bases):  # it has no constructor that griffe sees
                obj.docstring.value = obj.docstring.value.replace("\nArgs:\n", "\nAttributes:\n")
