"""Build the site of the documentation from the pages of the repository; `make docs` runs it.

The pages stay where GitHub shows them. They are copied to build/pages with their links rewritten to the site, a page
on the Python API is added, and zensical builds all of it, where a warning, such as a broken link, is an error. The
result is in site/, with llms.txt and the Markdown of each page beside it.
"""

from __future__ import annotations

import configparser
import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

import hfrecipes

ROOT = Path(__file__).resolve().parents[1]
# Pages that are not in docs/, and the indexes of the guides: the English one would be the start page by its name.
RENAMED = {
    "README.md": "index.md",
    "docs/README.md": "guides.md",
    "docs/zh/README.md": "zh/index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "recipes/README.md": "recipes.md",
    "examples/data/README.md": "example-data.md",
    "benchmarks/README.md": "benchmarks.md",
}
API = "api.md"
PICTURES = "docs/pictures"
PICTURE = re.compile(r'((?:src|srcset)=")([\w/.]*pictures/)')
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def site_paths() -> dict[str, str]:
    """Path in the repository -> path on the site, of each page."""
    paths = dict(RENAMED)
    for file in sorted((ROOT / "docs").rglob("*.md")):
        path = file.relative_to(ROOT).as_posix()
        paths.setdefault(path, path.removeprefix("docs/"))
    return paths


def repository() -> str:
    """Address of the repository, which a release fills in in setup.cfg; empty before."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    return setup["metadata"].get("url", "").rstrip("/")


def on_site(text: str, page: str, address: str) -> str:
    """The text of a page with links for the site.

    Args:
        text: Markdown.
        page: Path of the page in the repository.
        address: Address of the repository, or an empty string. Without it, links to files that are not on the site
            become plain text.
    """
    paths = site_paths()

    def moved(match: re.Match[str]) -> str:
        shown, link = match.groups()
        name, hash_sign, anchor = link.partition("#")
        target = os.path.normpath(os.path.join(os.path.dirname(page), name))
        if not name or ":" in name or not (ROOT / target).exists():
            return match[0]
        if target in paths:
            relative = os.path.relpath(paths[target], os.path.dirname(paths[page]))
            return f"[{shown}]({relative}{hash_sign}{anchor})"
        return f"[{shown}]({address}/blob/HEAD/{target}{hash_sign}{anchor})" if address else shown

    # Every second part is a block of code, where `names[0](text)` is no link.
    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    parts[::2] = [LINK.sub(moved, part) for part in parts[::2]]
    joined = PICTURE.sub(rf"\g<1>{os.path.relpath('pictures', os.path.dirname(paths[page]))}/", "".join(parts))
    return joined.replace("git+<repository>", f"git+{address}") if address else joined


def api_page() -> str:
    """Markdown of the page on the Python API: functions first, then classes."""
    functions, classes = [], []
    for name in hfrecipes.__all__:
        value = getattr(hfrecipes, name)
        if inspect.isclass(value):
            classes.append(f"::: hfrecipes.{name}\n")
        elif inspect.isfunction(value):
            functions.append(f"::: hfrecipes.{name}\n")
    errors = "::: hfrecipes.errors\n    options:\n      show_root_toc_entry: true\n"
    return "\n".join(["# Python API\n", *functions, *classes, errors])


def write_pages(folder: Path) -> None:
    """Write all pages of the site, in Markdown."""
    shutil.rmtree(folder, ignore_errors=True)
    address = repository()
    for source, path in site_paths().items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        text = (ROOT / source).read_text(encoding="utf-8")
        target.write_text(on_site(text, source, address), encoding="utf-8")
    shutil.copytree(ROOT / PICTURES, folder / "pictures")
    (folder / API).write_text(api_page(), encoding="utf-8")


def navigation() -> list[dict[str, Any]]:
    """The groups of the navigation."""
    groups: list[dict[str, Any]] = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    return groups


def pages_of(group: Any) -> dict[str, str]:
    """Path -> title, of the pages of a group of the navigation."""
    pages: dict[str, str] = {}
    for entry in group:
        ((title, path),) = entry.items()
        pages[path] = title
    return pages


def llms_txt() -> str:
    """A list of all pages with what they are about, for programs that read: https://llmstxt.org."""
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    about = dict(re.findall(r"^\d+\. \[.*?\]\((\S+)\): (.*)$", index, re.MULTILINE))
    lines = ["# hfrecipes\n", f"> {(hfrecipes.__doc__ or '').splitlines()[0]}"]
    for group in navigation():
        ((heading, pages),) = group.items()
        lines.append(f"\n## {heading}\n")
        for path, title in pages_of(pages).items():
            lines.append(f"- [{title}]({path})" + (f": {about[path]}" if path in about else ""))
    return "\n".join(lines) + "\n"


def build(folder: Path) -> int:
    """Write the pages, build the site, and add what programs read.

    Args:
        folder: Folder with mkdocs.yml, and with what it names.

    Returns:
        Exit status of the builder.
    """
    pages, site = folder / "build" / "pages", folder / "site"
    write_pages(pages)
    built = subprocess.run([sys.executable, "-m", "zensical", "build", "--strict", "--clean"], cwd=folder)
    if built.returncode:
        return built.returncode
    shutil.copytree(pages, site, dirs_exist_ok=True)
    (site / "llms.txt").write_text(llms_txt(), encoding="utf-8")
    print(f"{site}: look at it with python -m http.server --directory site")
    return 0


if __name__ == "__main__":
    sys.exit(build(ROOT))
