"""Names of options: suggestions for wrong ones, values in words, and no option given twice."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from nasplug.cli import app

runner = CliRunner()
GROUP = typer.main.get_command(app)
COMMANDS = {
    **{(name,): command for name, command in GROUP.commands.items() if name != "hardware"},
    **{("hardware", n): command for n, command in GROUP.commands["hardware"].commands.items()},
}


@pytest.mark.parametrize(
    ("words", "suggested"),
    [
        (["search", "--hardware", "x"], "--hw"),
        (["predict", "x", "--device=gpu"], "--hw"),
        (["search", "--trials", "3"], "--n-trials"),
        (["search", "--output", "x"], "--report"),
        (["train", "--output", "x"], "--out"),
        (["train", "--predictor", "x"], "--model"),
        (["search", "--model", "x"], "--predictor"),
        (["search", "--n-trails", "3"], "--n-trials"),
        (["spaces", "--format", "json"], "--json"),
        (["hardware", "show", "--verbose"], "--debug"),
        (["spaces", "--hlep"], "--help"),
    ],
)
def test_a_wrong_option_suggests_the_right_one(words: list[str], suggested: str) -> None:
    result = runner.invoke(app, words)
    assert result.exit_code == 2
    assert "No such option" in result.stderr
    assert suggested in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["search", "--seed", "1", "--seed", "2"], "--seed"),
        (["search", "--n-trials", "1", "--n-trials=2"], "--n-trials"),
        (["train", "--data", "x", "--out", "a", "--out", "b"], "--out"),
        (["worker", "--storage", "x", "--study", "a", "--study-name", "b"], "--study-name"),
    ],
)
def test_an_option_with_one_value_is_not_given_twice(words: list[str], option: str) -> None:
    result = runner.invoke(app, words)
    assert result.exit_code == 2
    assert f"Option '{option}' is given 2 times; give it once." in result.stderr


def test_repeatable_options_and_flags_are_repeated() -> None:
    words = ["predict", "x", "--predictor", "a", "--predictor", "b", "--json", "--json"]
    assert "times" not in runner.invoke(app, words).stderr


@pytest.mark.parametrize("words", COMMANDS)
def test_help_names_values_in_words_and_is_whole(words: tuple[str, ...]) -> None:
    command = COMMANDS[words]
    context = command.make_context(words[-1], [], resilient_parsing=True, terminal_width=60)
    text = command.get_help(context)
    assert not re.search(r"<\w|\b(TEXT|INTEGER|FLOAT|class)\b", text)
    assert "..." not in re.sub(r"[\]}]\.\.\.|S\.\.\.", "", text)
    assert max(map(len, text.splitlines())) <= 60


def test_the_list_of_commands_has_whole_sentences() -> None:
    text = " ".join(runner.invoke(app, ["--help"]).stdout.split())
    for command in GROUP.commands.values():
        assert str(command.help) in text
    done = subprocess.run(
        [sys.executable, "-m", "nasplug", "search", "--help"],
        env={**os.environ, "COLUMNS": "118"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert 80 < max(map(len, done.stdout.splitlines())) <= 118


@pytest.mark.parametrize("option", ["--study", "--study-name"])
@pytest.mark.parametrize("words", [["worker", "--storage", "no"], ["report", "no"]])
def test_a_study_is_named_alike_in_all_commands(words: list[str], option: str) -> None:
    result = runner.invoke(app, [*words, option, "mine"])
    assert "the storage 'no'" in result.stderr
    assert "--study-name" in runner.invoke(app, [words[0], "--help"]).stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_options(shell: str) -> None:
    assert "--install-completion" in runner.invoke(app, ["--help"]).stdout
    asked = {
        "_NASPLUG_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "nasplug search --stu",
        "COMP_CWORD": "2",
        "_TYPER_COMPLETE_ARGS": "nasplug search --stu",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = subprocess.run(
        [sys.executable, "-m", "nasplug"],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "--study-name" in done.stdout
