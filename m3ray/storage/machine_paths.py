"""Paths of a machine in what is given to others: each becomes the name of its file or folder, secrets vanish.

What is looked for: absolute paths of two parts or more, homes (`~/...`), drives and shares of Windows, `file:` URIs,
and URIs of object stores and file servers, of which bucket, host and folders are left out too. Addresses on the web
stay, without their secrets.
"""

from __future__ import annotations

import html
import itertools
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from m3ray.storage.secrets import redact

# A letter of a path; blanks are none, or the rest of a sentence would be taken along.
_LETTER = r"(?:[^\s\"'<>|:;,()\[\]{}\\/&#]|&amp;)"
_STORE = r"(?i:file|s3[an]?|gs|gcs|az|abfss?|adls?|azure|wasbs?|oss|cos|obs|b2|r2|hdfs|sftp|smb|nfs)"
# A path may stand behind a tag or an entity of HTML; a tag's own end, `</b>`, and a path relative to another are none.
_PATH = re.compile(
    rf"(?:(?<!\w){_STORE}://(?=[\w/])(?:{_LETTER}+(?::\d+)?)?|(?<!\w)(?i:file):(?=/)|(?<![\w./<&~-])~(?=/)"
    rf"|(?<!\w)[A-Za-z]:(?=/{_LETTER}+/{_LETTER})|(?<![\w./<&~-])(?=/{_LETTER}+/{_LETTER}))"
    rf"(?:/{_LETTER}*)*"
    # In JSON and in code, each backslash is written twice.
    rf"|(?:(?<!\w)[A-Za-z]:\\{{1,2}}|(?<![\w\\])(?:\\\\){{1,2}}[\w.-]+\\{{1,2}})(?:{_LETTER}+\\{{1,2}})*{_LETTER}+"
)
_WHOLE_PATH = re.compile(rf"//?(?=[^\s/])|~/|(?i:file):/|{_STORE}://|[A-Za-z]:[\\/]|\\\\")
# Pictures in a page or a figure are base64, which has slashes, and in SVG ends of lines.
_EMBEDDED = re.compile(
    r"((?<!\w)data:\w+/[\w.+-]+(?:;[\w=-]+)*;base64,\n?(?:[A-Za-z0-9+/]{60,}\n)*[A-Za-z0-9+/]*={0,2}"
    r"|(?<!\w)data:(?:image|video|audio|font)/[\w.+-]+(?:;[\w=-]+)*,[^\"')\s]*)"
)
_ODD = re.compile(r"[\s\"'<>|:;,()\[\]{}&#]")  # at which a path in a text ends
_SCHEME = re.compile(rf"{_STORE}:")
_SEPARATORS = re.compile(r"[/\\]+")


@dataclass
class PathCleaner:
    """Takes a machine's paths out of texts, and counts them.

    Args:
        known: paths that are replaced wherever they stand, whatever letters they have; the longest first.
        users: names of users, replaced where they stand as a word of their own.
        replaced: what was replaced so far.
        names: path to the name that stands for it everywhere, of those that must not be mixed up (`keep_apart`).
    """

    known: Sequence[str] = ()
    users: Sequence[str] = ()
    replaced: set[str] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)
    _odd: re.Pattern[str] | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        """Prepare the search for paths with blanks and the like."""
        self._odd = self._find_odd()

    def keep_apart(self, ids: Iterable[str]) -> None:
        """Give each id that is a path a name that no other id has: that of its file, numbered where others have it.

        Args:
            ids: all ids, those that are no paths among them.
        """
        every = set(ids)
        paths = sorted(text for text in every if _WHOLE_PATH.match(text))
        taken = every.difference(paths)
        numbers: dict[str, Iterator[int]] = defaultdict(lambda: itertools.count(2))
        for path in paths:
            short = self._shorten(path)
            self.names[path] = _find_free(short, taken, numbers[short])
            taken.add(self.names[path])
        self._odd = self._find_odd()

    def clean_text(self, text: str) -> str:
        """Take paths and secrets out of a text.

        Args:
            text: text, such as a page, whose embedded pictures stay as they are.
        Returns:
            The text.
        """
        parts = _EMBEDDED.split(text)  # at odd places, what is embedded
        return "".join(part if place % 2 else self._clean_part(part) for place, part in enumerate(parts))

    def _clean_part(self, text: str) -> str:
        text = redact(text)
        if self._odd is not None:
            text = self._odd.sub(self._replace, text)
        text = _PATH.sub(self._replace, text)
        for path in sorted(self.known, key=len, reverse=True):
            if path in text:
                self.replaced.add(path)
                text = text.replace(path, _name_of(path))
        return self._hide_users(text)

    def _find_odd(self) -> re.Pattern[str] | None:
        """What finds the paths with letters that end a path in a text, as they stand in texts and in HTML."""
        ids = {form: r"(?!\w|[./-]\w)" for path in self.names for form in _spell_odd(path)}
        known = {form: "" for path in self.known for form in _spell_odd(path)}
        every = sorted((known | ids).items(), key=lambda entry: (-len(entry[0]), entry[0]))
        return re.compile("|".join(re.escape(path) + end for path, end in every)) if every else None

    def _hide_users(self, text: str) -> str:
        for user in self.users:
            text = re.sub(rf"(?<!\w){re.escape(user)}(?!\w)", "user", text)
        return text

    def _shorten(self, path: str) -> str:
        return self._hide_users(_name_of(redact(path)))

    def _replace(self, found: re.Match[str]) -> str:
        path, stop = found[0], ""
        if path.endswith("."):  # the end of a sentence
            path, stop = path[:-1], "."
        self.replaced.add(path)
        local = re.sub(r"^(?i:file):(?://)?(?=/)", "", path)
        forms = [form for form in (path, html.unescape(path), local) if form in self.names]
        if not forms:
            return self._shorten(path) + stop
        name = self.names[forms[0]]
        return (name if forms[0] == path else html.escape(name)) + stop

    def clean_json(self, value: Any) -> Any:
        """Take paths and secrets out of JSON values.

        Args:
            value: any JSON value; tuples may be in it.
        Returns:
            The value, with the same keys; those that would become the same are numbered.
        """
        if isinstance(value, dict):
            cleaned: dict[Any, Any] = {}
            for key, item in value.items():
                cleaned[_find_free(self.clean_json(key), cleaned, itertools.count(2))] = self.clean_json(item)
            return cleaned
        if isinstance(value, (list, tuple)):
            return type(value)(self.clean_json(item) for item in value)
        return self._clean_string(value) if isinstance(value, str) else value

    def _clean_string(self, text: str) -> str:
        """A string that is a path as a whole may hold blanks."""
        if text in self.names:
            self.replaced.add(text)
            return self.names[text]
        if _WHOLE_PATH.match(text) and "\n" not in text:
            self.replaced.add(text)
            return self._shorten(text)
        return self.clean_text(text)


def _spell_odd(path: str) -> set[str]:
    """A path with such letters as it stands in a text, and as it does in HTML; none of a plain path."""
    if not _ODD.search(_SCHEME.sub("", path, count=1)):
        return set()
    whole = html.escape(path)
    return {path, whole, html.escape(path, quote=False), whole.replace("&#x27;", "&#39;").replace("&quot;", "&#34;")}


def _find_free(name: Any, taken: Collection[Any], numbers: Iterator[int]) -> Any:
    """A name that is not taken: the name, or with a number before its ending."""
    if name not in taken:
        return name
    stem, dot, ending = name.rpartition(".")
    stem, ending = (stem, dot + ending) if stem else (name, "")
    return next(other for number in numbers if (other := f"{stem}-{number}{ending}") not in taken)


def _name_of(path: str) -> str:
    """Last part of a path."""
    parts = [part for part in _SEPARATORS.split(_SCHEME.sub("", path, count=1)) if part not in ("", "~", ".")]
    return parts[-1] if parts else "."
