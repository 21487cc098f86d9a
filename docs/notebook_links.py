"""Hook of MkDocs: links of notebooks to pages, `../scoring.md#anchor`, lead to the site's addresses of these pages."""

from __future__ import annotations

import logging
import posixpath
import re
from typing import Any

from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

logger = logging.getLogger("mkdocs.plugins.notebook_links")
_LINK = re.compile(r'href="(?!https?:|#|/)([^"#]+\.(?:md|ipynb))(#[^"]*)?"')


def on_page_content(html: str, *, page: Page, files: Files, **_: Any) -> str:
    """Rewrite the links of a notebook, which MkDocs leaves as they are.

    Args:
        html: the page's content.
        page: the page.
        files: all files of the site.
    Returns:
        The content with its links changed; a link that leads nowhere is a warning, which ends a strict build.
    """
    if not page.file.src_uri.endswith(".ipynb"):
        return html

    def replace(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page.file.src_uri), link[1]))
        found = files.get_file_from_path(target)
        if found is None:
            logger.warning(f"{page.file.src_uri} links to {link[1]}, which is no page of the site")
            return link[0]
        return f'href="{found.url_relative_to(page.file)}{link[2] or ""}"'

    return _LINK.sub(replace, html)
