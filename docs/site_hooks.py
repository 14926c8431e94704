"""Hooks of mkdocs: pages that are made from the code, and pages that lie outside of docs/."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

import nasplug

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "build" / "site-sources" / "nasplug"
DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# Packages whose public names have a page.
PACKAGES = (
    "nasplug",
    "nasplug.predictors",
    "nasplug.search_spaces",
    "nasplug.datasets",
    "nasplug.plots",
    "nasplug.testing",
)
# Pages at the root of the repository, where people look for them.
ROOT_PAGES = {
    "README": "index.md",
    "CHANGELOG": "changelog.md",
    "CONTRIBUTING": "contributing.md",
    "SECURITY": "security.md",
}


def on_startup(**_: Any) -> None:
    """Lay out the package as it is installed: two of its sub-packages lie beside it here."""
    # Notebooks run without ipywidgets; a reader need not know.
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"
    shutil.rmtree(SOURCES, ignore_errors=True)
    for folder, target in (("nasplug", "."), ("search_spaces",) * 2, ("predictors",) * 2):
        for path in (ROOT / folder).rglob("*.py"):
            copy = SOURCES / target / path.relative_to(ROOT / folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            # Griffe reads doctests as code in a section of this name alone.
            text = path.read_text(encoding="utf-8").replace(" Example:\n", " Examples:\n")
            copy.write_text(text, encoding="utf-8")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that have no file in docs/."""
    for package in PACKAGES:
        page = f"reference/{package.rpartition('.')[2]}.md"
        files.append(File.generated(config, page, content=api_page(package)))
    files.append(File.generated(config, "reference/commands.md", content=command_page()))
    for name, page in ROOT_PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / f"{name}.md")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links to files of the repository into links to pages of the site."""
    if page.file.src_uri == "index.md":
        page.meta["hide"] = ["navigation"]
    if page.file.src_uri in ROOT_PAGES.values():
        markdown = markdown.replace("](docs/", "](").replace("[LICENSE](LICENSE)", "licence")
        # Read by those who have a checkout, not by visitors of the site.
        markdown = re.sub(r"## Tests\n.*?(?=## )", "", markdown, flags=re.DOTALL)
    up = "../" * page.file.src_uri.count("/")
    for name, uri in ROOT_PAGES.items():
        markdown = re.sub(rf"\]\((?:\.\./)*{name}\.md", f"]({up}{uri}", markdown)
    return DIAGRAM.sub(lambda found: diagram(found[1]), markdown)


def diagram(text: str) -> str:
    """Return the picture of a Mermaid diagram, which experiments/diagrams.py drew."""
    name = hashlib.sha256(text.encode()).hexdigest()[:12]
    path = ROOT / "docs" / "images" / "diagrams" / f"{name}.svg"
    if not path.is_file():
        raise PluginError(f"no {path.relative_to(ROOT)}; run python -m experiments.make_docs")
    return f'<div class="diagram">{path.read_text(encoding="utf-8").strip()}</div>'


def api_page(package: str) -> str:
    """Return the reference of a package's public names, in the order of `__all__`."""
    module = import_module(package)
    entries = [f"# {package}\n\n{_summary(module)}\n"]
    for name in module.__all__:
        item = getattr(module, name)
        home = f"{package}.{name}"
        if callable(item):
            # Where it is defined: some functions are named like the file that holds them.
            home = f"{item.__module__}.{item.__qualname__}"
        if f"{package}.{name}" in PACKAGES:
            entries.append(f"## {name}\n\n[{package}.{name}]({name}.md) has a page of its own.\n")
        elif package != "nasplug" and getattr(nasplug, name, None) is item:
            entries.append(f"## {package}.{name}\n\nThe same as [nasplug.{name}][{home}].\n")
        elif name == "__version__":
            entries.append(f"## {package}.{name}\n\nThe version of the installed package.\n")
        else:
            entries.append(f'::: {home}\n    options:\n      heading: "{package}.{name}"\n')
    return "\n".join(entries)


def _summary(module: Any) -> str:
    return (module.__doc__ or "").partition("\n\nExample:")[0].strip()


def command_page() -> str:
    """Return the reference of the command line, as Typer writes it."""
    from typer.cli import get_docs_for_click
    from typer.main import get_command

    from nasplug.cli import app

    command = get_command(app)
    with command.make_context("nasplug", [], resilient_parsing=True) as context:
        return str(get_docs_for_click(obj=command, ctx=context, name="nasplug"))
