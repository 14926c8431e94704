"""Export of networks as code: a module of PyTorch for each, and a program that trains them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from nasplug.search_spaces import Architecture, InputError, SearchSpace
from nasplug.search_spaces.code import filled

__all__ = ["TRAINING", "check_code", "codes", "training_program"]

# Name of the program that trains the networks.
TRAINING = "train.py"
_IMAGE = re.compile(r"^IMAGE = \(\d+, (\d+)", re.MULTILINE)
# Side up to which images are small; number of images in the program's example for small and for
# large ones.
_SMALL, _FEW, _FEWER = 32, 640, 64


def check_code(space: SearchSpace) -> None:
    """Check that a space writes code.

    Raises:
        InputError: If it does not.
    """
    if not space.writes_code:
        raise InputError(
            f"space {space.name!r} writes no code of its networks; leave out --code (a function of "
            "yours that builds networks is itself the code that trains)"
        )


def codes(
    space: SearchSpace, archs: Sequence[Architecture], dataset: str | None = None
) -> list[tuple[str, str]]:
    """Write the code of networks.

    Args:
        space: Their space.
        archs: The networks.
        dataset: Image set of the networks; the first of the space if it is left out.

    Returns:
        Name and text of the file of each network.
    """
    check_code(space)
    # Spaces of other packages may know no image sets.
    tasks = () if dataset is None else (dataset,)
    texts: dict[str, str] = {}
    files = []
    for arch in archs:
        stem, text, number = _stem(arch), space.to_code(arch, *tasks), 1
        # Architectures that a space counts as one have one id.
        while texts.get(f"{stem}.py", text) != text:
            number += 1
            stem = f"{_stem(arch)}_{number}"
        texts[f"{stem}.py"] = text
        files.append((f"{stem}.py", text))
    return files


def _stem(arch: Architecture) -> str:
    """Name of a module that Python can import."""
    stem = re.sub(r"\W", "_", arch.arch_id, flags=re.ASCII)
    return stem if stem.isidentifier() else f"network_{stem}"


def training_program(space: SearchSpace, dataset: str, file: str, text: str) -> str:
    """The text of a program that trains a network, or any other of its space.

    Args:
        space: The space of the network.
        dataset: Image set of the network.
        file: Name of the file of its code.
        text: The code.
    """
    constants: dict[str, str | int] = {"NETWORK": file, "SPACE": space.name}
    if space.quality == "perplexity":
        program = filled("train_tokens", constants | {"TASK": dataset})
    else:
        side = _IMAGE.search(text)
        is_small = side is not None and int(side[1]) <= _SMALL
        images = _FEW if is_small else _FEWER
        program = filled("train", constants | {"IMAGE_SET": dataset, "IMAGES": images})
    return program.replace("--space SPACE", f"--space {shlex.quote(space.name)}")
