"""The commands that README.md shows exist, and the version is told everywhere alike."""

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_commands_in_readme_exist():
    from typer.main import get_command

    from nasplug.cli import app

    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    fenced = "\n".join(re.findall(r"```\n(.*?)```", text, flags=re.DOTALL))
    used = set(re.findall(r"^(?:.*/)?nasplug (\w+)", fenced, flags=re.MULTILINE))
    assert used
    assert used <= known


def test_the_citation_names_the_version():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", citation, flags=re.MULTILINE) == [
        config["metadata"]["version"]
    ]
