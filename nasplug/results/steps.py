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


def training_step(command: str) -> str:
    """The next step that trains networks; `command` is the one that searches."""
    # A function of the user's builds the network from the parameters.
    word = "{params}" if ".py:" in command else "{arch}"
    program, words = "train.py", shlex.split(command)
    if "--code" in words and "--export" in words[:-1]:
        program = str(Path(words[words.index("--export") + 1]) / program)
    return (
        f"trials that your {program} trains, instead of predicted ones: "
        f'{command} --evaluate command "python {shlex.quote(program)} {word}"'
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
    words = iter(shlex.split(command))
    kept = []
    for word in words:
        if word == option:
            next(words, None)
        elif not word.startswith(f"{option}="):
            kept.append(word)
    return shlex.join([*kept, option, value])
