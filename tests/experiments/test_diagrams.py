"""Every diagram of the pages has its picture, which loads nothing."""

from __future__ import annotations

import re

from experiments.diagrams import FOLDER, diagrams


def test_pictures_are_those_of_the_pages() -> None:
    pictures = {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.svg")}
    assert pictures.keys() == diagrams().keys(), "run python -m experiments.make_docs"
    for svg in pictures.values():
        assert not re.search(r"@import|url\((?!#)|href=\"(?!#)|<script", svg)
