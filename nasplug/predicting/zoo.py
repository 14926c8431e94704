"""Trained predictors that come with the package, and new ones of nasplug's own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from importlib.resources import as_file, files
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasplug.predicting.architecture_predictor import NETWORK_LATENCY, ArchitecturePredictor
from nasplug.search_spaces import InputError, SearchSpace
from nasplug.search_spaces import space as space_named
from nasplug.search_spaces.errors import closest

if TYPE_CHECKING:
    from nasplug.predictors.accuracy.pretraining import Encoder

__all__ = [
    "KINDS",
    "NETWORK_LATENCY",
    "ArchitecturePredictor",
    "create_predictor",
    "in_runtime",
    "is_path",
    "load_predictor",
    "names",
    "predictors_for",
    "zoo_name",
]

KINDS = ("accuracy", "latency")
# An encoder's name is its space's with this; it predicts nothing by itself.
_ENCODER = "-encoder"
_SUFFIX = ".safetensors"


def names() -> list[str]:
    """Names of the trained predictors in the package."""
    found = (file.name for file in files("nasplug.zoo").iterdir())
    stems = (n.removesuffix(_SUFFIX) for n in found if n.endswith(_SUFFIX) and n[0] != ".")
    return sorted(stem for stem in stems if not stem.endswith(_ENCODER))


def is_path(name: str) -> bool:
    """Whether the name of a predictor means a file, not one of the zoo.

    It does with a slash or a suffix, or if no predictor of the zoo but a checkpoint in the working
    folder has this name.
    """
    if "/" in name or name.endswith((_SUFFIX, ".json")):
        return True
    return name not in names() and os.path.isfile(name + _SUFFIX)


def load_predictor(name: str | PathLike[str], backend: str = "auto") -> ArchitecturePredictor:
    """Load a trained predictor.

    Args:
        name: A name of the zoo, such as `"nb201-accuracy"`, or the path of a checkpoint, with or
            without its suffix.
        backend: `"torch"`, `"dgl"`, or `"auto"` for the faster one that is installed.

    Raises:
        InputError: If there is no such predictor, or the file is damaged or not one of ours.

    Example:
        >>> import nasplug
        >>> predictor = nasplug.load_predictor("nb201-latency")
        >>> fast, slow = nasplug.space("nb201")[0], nasplug.space("nb201")[11000]
        >>> latencies = predictor.predict([fast, slow], "RTX 3090").mean
        >>> latencies.shape, bool((latencies > 0).all())
        ((2, 1), True)
    """
    text = str(name)
    if is_path(text):
        return _open(Path(text), backend)
    if text not in names():
        raise InputError(
            f"unknown predictor {text!r}; the package has {closest(text, names())}; "
            "for a file of your own give its path"
        )
    return _load_from_zoo(text, backend)


@cache
def _load_from_zoo(name: str, backend: str) -> ArchitecturePredictor:
    with as_file(files("nasplug.zoo") / (name + _SUFFIX)) as file:
        return _open(file, backend)


def _open(path: Path, backend: str) -> ArchitecturePredictor:
    from nasplug.predictors.checkpoint import load_checkpoint
    from nasplug.predictors.registry import restore

    checkpoint = load_checkpoint(path)
    card = checkpoint.card
    if not isinstance(card.get("space"), str):
        raise InputError(f"the card of {path} does not say which search space it is for")
    space = space_named(card["space"])
    model = restore(checkpoint, backend)
    return ArchitecturePredictor(str(card.get("name", path.stem)), space, model, card)


def predictors_for(
    space: SearchSpace,
    latency: bool,
    given: Sequence[str | PathLike[str] | ArchitecturePredictor],
    *,
    all_needed: bool = True,
) -> dict[str, ArchitecturePredictor]:
    """The predictor of each quantity: a given one of that kind, or else the zoo's.

    Args:
        space: The space of the architectures.
        latency: Whether a latency is needed beside the accuracy.
        given: Names of the zoo, paths of checkpoints, or loaded predictors.
        all_needed: Whether each quantity needs one; else a quantity that the zoo does not know for
            this space is left out, if there is another.

    Raises:
        InputError: If one cannot be loaded, is for another space, or gives no intervals, or if two
            are of one kind.
    """
    own: dict[str, ArchitecturePredictor] = {}
    for item in given:
        predictor = item if isinstance(item, ArchitecturePredictor) else load_predictor(item)
        predictor = predictor.for_space(space)
        _check_intervals(predictor)
        if predictor.kind in own:
            raise InputError(
                f"two predictors of {predictor.kind} are given, {own[predictor.kind].name!r} and "
                f"{predictor.name!r}; give one"
            )
        own[predictor.kind] = predictor
    quantities = ["accuracy", "latency"] if latency else ["accuracy"]
    if not all_needed:
        if "latency" in own and not latency:
            raise InputError(f"predictor {own['latency'].name!r} predicts latency; name a device")
        found = [q for q in quantities if q in own or zoo_name(space, q) in names()]
        quantities = found or quantities
    return {
        q: own.get(q) or load_predictor(zoo_name(space, q)).for_space(space) for q in quantities
    }


def in_runtime(chosen: dict[str, ArchitecturePredictor], runtime: str) -> None:
    """Make the latency predictor among the chosen ones one of networks run in a runtime.

    Raises:
        InputError: If there is none, or as `ArchitecturePredictor.with_runtime`.
    """
    if "latency" not in chosen:
        raise InputError(f"the runtime {runtime} is one of a latency; name a device")
    chosen["latency"] = chosen["latency"].with_runtime(runtime)


def zoo_name(space: SearchSpace, quantity: str) -> str:
    """The zoo's predictor of a quantity in a space, whether or not there is one."""
    own = f"{space.name}-{quantity}"
    if own not in names() and quantity == "latency" and space.has_networks:
        return NETWORK_LATENCY
    return own


def _check_intervals(predictor: ArchitecturePredictor) -> None:
    config = getattr(predictor.model, "config", None)
    if getattr(config, "calibration_share", None) == 0:
        raise InputError(
            f"predictor {predictor.name!r} kept nothing to calibrate on and gives no intervals; "
            "train it with a calibration_share such as 0.15"
        )


def create_predictor(
    kind: str, space: str | SearchSpace, *, backend: str = "auto", **config: Any
) -> ArchitecturePredictor:
    """A new predictor of nasplug's own to fit on your measurements.

    An accuracy predictor gets the encoder that the package has for the space, pretrained without
    labels; where there is none, it reads the paths of a graph alone.

    Args:
        kind: `"accuracy"` or `"latency"`.
        space: The space of the architectures, or its name.
        backend: As in `load_predictor`.
        **config: Fields of `TransformerGPConfig`, such as `targets=("cifar10",)`, or of
            `LatencyConfig`; for an accuracy also `encoder`.

    Raises:
        InputError: If the kind, the space or a field is unknown.

    Example:
        >>> import numpy as np
        >>> import nasplug
        >>> space, generator = nasplug.space("nb201"), np.random.default_rng(0)
        >>> archs = [space.sample(generator) for _ in range(40)]
        >>> measured = np.linspace(80, 94, 40)  # stands for your own measurements
        >>> predictor = nasplug.create_predictor("accuracy", space)
        >>> predictor.fit(archs, measured)
        >>> predictor.predict(archs[:3]).mean.shape
        (3, 1)
    """
    if kind not in KINDS:
        raise InputError(f"unknown kind of predictor {kind!r}; there are {', '.join(KINDS)}")
    where = space_named(space) if isinstance(space, str) else space
    model: Any
    if kind == "accuracy":
        from nasplug.predictors.accuracy.transformer_gp import transformer_gp

        if "encoder" not in config:
            config["encoder"] = _encoder_of(where.name, backend)
        model = transformer_gp(backend=backend, **config)
    else:
        from nasplug.predictors.latency.cell_latency import LatencyConfig, LatencyPredictor

        try:
            model = LatencyPredictor(LatencyConfig(**config), backend)
        except TypeError as error:
            raise InputError(f"{error}; see LatencyConfig for the fields") from None
    return ArchitecturePredictor(f"new {kind} predictor", where, model)


@cache
def _encoder_of(space: str, backend: str) -> Encoder | None:
    """The encoder in the package that was pretrained on a space, if there is one."""
    from nasplug.predictors.accuracy.pretraining import Encoder

    name = f"{space}{_ENCODER}"
    place = files("nasplug.zoo") / (name + _SUFFIX)
    if not place.is_file():
        return None
    with as_file(place) as file:
        return Encoder.load(file, backend)
