"""Choice of the latency predictor that a calibration builds on."""

from __future__ import annotations

import os

from nasplug.predicting.few_shot import device_columns
from nasplug.predicting.zoo import ArchitecturePredictor, load_predictor, names, zoo_name
from nasplug.search_spaces import InputError, SearchSpace

__all__ = ["latency_predictor"]


def latency_predictor(
    space: SearchSpace, predictor: str | os.PathLike[str] | ArchitecturePredictor | None = None
) -> ArchitecturePredictor:
    """Choose the latency predictor that a calibration in a space builds on.

    Raises:
        InputError: If the package has no such predictor, or the given one does not know several
            devices.
    """
    if predictor is None:
        name = zoo_name(space, "latency")
        if name not in names():
            spaces = [n.removesuffix("-latency") for n in names() if n.endswith("-latency")]
            raise InputError(
                "a calibration builds on a latency predictor, and the package has none for space "
                f"{space.name}; it has one for {', '.join(spaces)}"
            )
        return load_predictor(name).for_space(space)
    if not isinstance(predictor, ArchitecturePredictor):
        predictor = load_predictor(predictor, space=space)
    predictor = predictor.for_space(space)
    device_columns(predictor, 1)
    return predictor
