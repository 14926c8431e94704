"""Pictures for the site of the Mermaid diagrams in the pages, so that no page needs a network.

    python -m experiments.make_docs

GitHub draws the diagrams itself. The site shows `docs/images/diagrams/<hash of the text>.svg` in
their place. Where one is missing, npm, playwright and Chromium are needed.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from experiments import ROOT
from nasplug.search_spaces.files import write_text

FOLDER = ROOT / "docs" / "images" / "diagrams"
BLOCK = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)
MERMAID = "mermaid@11.17.2"
# Colours of the site, in its light and dark schemes.
STYLE = """
.node rect { fill: var(--md-accent-fg-color--transparent) !important;
             stroke: var(--md-accent-fg-color) !important; }
.flowchart-link { stroke: var(--md-code-fg-color) !important; }
.marker, .marker path { fill: var(--md-code-fg-color) !important;
                        stroke: var(--md-code-fg-color) !important; }
text, tspan { fill: var(--md-code-fg-color) !important; }
.edgeLabel rect, .background { fill: var(--md-default-bg-color) !important; opacity: 1 !important; }
"""
SETTINGS = {
    "startOnLoad": False,
    "theme": "base",
    "htmlLabels": False,
    "fontFamily": "system-ui, sans-serif",
    "themeCSS": STYLE,
    "flowchart": {"htmlLabels": False},
}


def diagrams() -> dict[str, str]:
    """Each diagram of the pages by its name, a hash of its text."""
    pages = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").rglob("*.md"))]
    texts = [text for page in pages for text in BLOCK.findall(page)]
    return {hashlib.sha256(text.encode()).hexdigest()[:12]: text for text in texts}


def draw(wanted: dict[str, str]) -> dict[str, str]:
    """SVG of each diagram, drawn by Mermaid in Chromium."""
    from playwright.sync_api import sync_playwright

    drawn = {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        subprocess.run(["npm", "pack", "--silent", MERMAID], cwd=folder, check=True)
        archive = next(Path(folder).glob("*.tgz"))
        shutil.unpack_archive(archive, folder, filter="data")
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page()
        page.add_script_tag(path=Path(folder) / "package" / "dist" / "mermaid.min.js")
        page.evaluate("settings => mermaid.initialize(settings)", SETTINGS)
        for name, text in wanted.items():
            script = "async ([name, text]) => (await mermaid.render('diagram-' + name, text)).svg"
            drawn[name] = str(page.evaluate(script, [name, text]))
        browser.close()
    return drawn


def main() -> None:
    """Draw what has no picture yet, and remove what no page has any more."""
    wanted = diagrams()
    present = {path.stem for path in FOLDER.glob("*.svg")}
    missing = {name: text for name, text in wanted.items() if name not in present}
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, svg in (draw(missing) if missing else {}).items():
        write_text(FOLDER / f"{name}.svg", svg + "\n")
    for name in present - wanted.keys():
        (FOLDER / f"{name}.svg").unlink()
