"""The Python in README.md and docs/guide.md runs as it stands."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def blocks(page: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.parametrize("number", range(2))
def test_readme_example(number, nb201_cache, capsys):
    exec(compile(blocks("README.md")[number], f"README.md block {number}", "exec"), {})


def test_guide_example(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(blocks("docs/guide.md")[0], "docs/guide.md", "exec"), names)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "pareto.png",
        "progress.png",
        "report.html",
        "result.json",
    ]
    assert names["latency"].zero_shot  # type: ignore[attr-defined]


def test_commands_in_readme_exist():
    from typer.main import get_command

    from nasplug.cli import app

    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    fenced = "\n".join(re.findall(r"```\n(.*?)```", text, flags=re.DOTALL))
    used = set(re.findall(r"^(?:.*/)?nasplug (\w+)", fenced, flags=re.MULTILINE))
    assert used
    assert used <= known
