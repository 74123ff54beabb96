"""What mkdocs adds to the pages of docs/: those at the root of the repository.

Links to files that are pages of the site lead there; links to other files of the repository become their
names.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = {
    "FORMAT.md": "format.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#)([^)#\s]+)(#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages at the root."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links."""
    uri = page.file.src_uri
    root = next((s for s, p in PAGES.items() if p == uri), None)
    here = posixpath.dirname(root if root else f"docs/{uri}")

    def link(found: re.Match[str]) -> str:
        text, target, anchor = found[1], found[2], found[3] or ""
        path = posixpath.normpath(posixpath.join(here, target))
        to = PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if to is None:
            return f"{text} (`{path}`)"
        return f"[{text}]({posixpath.relpath(to, posixpath.dirname(uri) or '.')}{anchor})"

    return LINK.sub(link, markdown)
