import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_pages_are_what_the_results_say():
    done = subprocess.run(
        [sys.executable, "-m", "experiments.make_docs", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_changed_figure_is_found(tmp_path):
    copy = tmp_path / "checkout"
    read = [*(ROOT / "experiments").rglob("*.py"), *(ROOT / "docs").rglob("*.md")]
    for name in ("README.md", *(str(path.relative_to(ROOT)) for path in read)):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    linked = ("experiments/results", "docs/images", "nasplug", "predictors", "search_spaces")
    for name in (*linked, "setup.cfg"):
        (copy / name).symlink_to(ROOT / name)
    page = copy / "README.md"
    page.write_text(page.read_text(encoding="utf-8").replace("Kendall tau 0.", "Kendall tau 1."))
    script = [sys.executable, "-m", "experiments.make_docs"]
    done = subprocess.run(
        [*script, "--check"], cwd=copy, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "README.md" in done.stderr
    subprocess.run(script, cwd=copy, check=True)
    assert page.read_text(encoding="utf-8") == (ROOT / "README.md").read_text(encoding="utf-8")
