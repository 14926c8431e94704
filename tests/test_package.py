"""The sdist and the wheel, built as an installer does: both hold every file of the package."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from experiments import ROOT
from experiments.rooms import FOLDERS

MOST_BYTES = 25_000_000
NO_CACHES = shutil.ignore_patterns("__pycache__")
# Files of the package by their place in the wheel, and in the checkout.
FILES = {
    f"{package.replace('.', '/')}/{file.relative_to(folder).as_posix()}": file
    for package, folder in FOLDERS.items()
    for file in sorted(folder.rglob("*"))
    if file.is_file() and "__pycache__" not in file.parts
}


def built(kind: str, source: Path, folder: Path) -> Path:
    """Build what is named, as `pip install` does but with the setuptools that is here."""
    code = f"import sys; from setuptools import build_meta as b; b.build_{kind}(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return file


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist of a copy of the checkout, in which building may leave files."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("nasplug", "search_spaces", "predictors"):
        shutil.copytree(ROOT / name, copy / name, ignore=NO_CACHES)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return built("sdist", copy, tmp_path_factory.mktemp("sdist"))


def test_the_sdist_has_every_file(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {file.relative_to(ROOT).as_posix() for file in FILES.values()}
    assert wanted | {"setup.cfg", "pyproject.toml", "README.md", "LICENSE"} <= names


def test_the_wheel_of_the_sdist_has_every_file_and_is_small(sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    wheel = built("wheel", source, tmp_path)
    assert wheel.stat().st_size <= MOST_BYTES
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        texts = {name: archive.read(name) for name in FILES if name in names}
    assert names == set(FILES)
    assert texts == {name: file.read_bytes() for name, file in FILES.items()}


def test_the_oldest_python_reads_every_file() -> None:
    for name, file in FILES.items():
        if name.endswith(".py"):
            ast.parse(file.read_bytes(), name, feature_version=(3, 10))
