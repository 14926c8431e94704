"""Next steps after a search: sentences with commands that can be pasted."""

from __future__ import annotations

import shlex
from pathlib import Path

from nasplug.arguments import can_export
from nasplug.search_spaces import SearchSpace

__all__ = ["calibration_step", "export_steps", "training_step", "with_option"]


def calibration_step(space: str) -> str:
    """The next step that narrows the intervals of latencies in a space."""
    return (
        "networks to time on your device, whose latencies nasplug calibrate learns: "
        f"nasplug calibrate --space {shlex.quote(space)} --suggest 10 --out todo.csv"
    )


def training_step(command: str, quality: str) -> str:
    """The next step that trains networks.

    Args:
        command: The command that searches.
        quality: The quality of the space, such as `"accuracy"`, which replaces a proxy.
    """
    # A function of the user's builds the network from the parameters.
    word = "{params}" if ".py:" in command else "{arch}"
    program, words = "train.py", _words(without_option(command, "--proxy"))
    words = [quality if word.startswith("more ") else word for word in words]
    if "--code" in words and "--export" in words[:-1]:
        program = str(Path(words[words.index("--export") + 1]) / program)
    return (
        f"trials that your {program} trains, instead of predicted ones: "
        f'{shlex.join(words)} --evaluate command "python {shlex.quote(program)} {word}"'
    )


def export_steps(space: SearchSpace, command: str | None) -> list[str]:
    """The next step that writes a front's networks; none for a space that writes no networks.

    Args:
        space: The space of the networks.
        command: The command that searches; None for a step in Python.
    """
    is_done = command is not None and " --export" in command
    if is_done or not can_export(space):
        return []
    step = 'result.export("networks")'
    if command is not None:
        step = with_option(command, "--export", "networks")
    return [f"ONNX files of these networks: {step}"]


def with_option(command: str, option: str, value: str) -> str:
    """A command line with an option, whose earlier value, if any, is replaced."""
    return f"{without_option(command, option)} {shlex.join([option, value])}"


def without_option(command: str, option: str) -> str:
    """A command line without an option and its value."""
    words, kept = iter(_words(command)), []
    for word in words:
        if word == option:
            next(words, None)
        else:
            kept.append(word)
    return shlex.join(kept)


def _words(command: str) -> list[str]:
    """Words of a command line, of which an option and its value are two."""
    words: list[str] = []
    for word in shlex.split(command):
        words += word.split("=", 1) if word.startswith("--") else [word]
    return words
