"""Docstrings begin with a verb or a noun and name their object."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("nasplug", "predictors", "search_spaces")
QUESTIONS = {"what", "whatever", "which", "who", "whose", "how", "when", "where", "why"}
PRONOUNS = {
    *("he", "i", "it", "its", "our", "she", "that", "their", "them", "these"),
    *("they", "this", "those", "we", "you", "your"),
}
FORBIDDEN = QUESTIONS | PRONOUNS | {"of", "so", "as"}
DEFINITIONS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def first_words(text: str) -> list[str]:
    """The first two words of a docstring, lower-case and without punctuation."""
    return [word.strip("`*\"'.,:;()").lower() for word in text.split()[:2]]


def begins_badly(text: str) -> bool:
    """Whether a docstring begins with a question word, a pronoun, Of, So, As or The same."""
    words = first_words(text)
    return words[:1] != [] and (words[0] in FORBIDDEN or words == ["the", "same"])


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every docstring of a file, those of constants included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        # A text that stands alone also describes the constant before it.
        for statement in node.body if isinstance(node, DEFINITIONS) else ():
            match statement:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield statement.lineno, text


FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_begin_with_a_verb_or_a_noun(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {text.splitlines()[0]}"
        for path in FILES
        if path.is_relative_to(ROOT / package)
        for line, text in docstrings(path)
        if begins_badly(text)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        ("What a trial holds.", True),
        ("`It` goes on.", True),
        ("The same as a share of the whole.", True),
        ("As in `fit`.", True),
        ("The samples of a trial.", False),
        ("Whether two cells are equal.", False),
        ("Ofa networks.", False),
        ("`Cell.code` of each cell.", False),
    ],
)
def test_first_words(text: str, bad: bool) -> None:
    assert begins_badly(text) is bad
