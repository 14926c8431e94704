"""Zoo of trained predictors that come with the package, and new predictors to fit."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from functools import cache, partial
from importlib.resources import as_file, files
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from nasplug.arguments import checked_space
from nasplug.predicting.architecture_predictor import (
    NETWORK_ENERGY,
    NETWORK_LATENCY,
    ArchitecturePredictor,
)
from nasplug.predicting.measured_accuracy import HasAccuracies, MeasuredAccuracy
from nasplug.predicting.structure_accuracy import StructureAccuracy, has_structure_accuracy
from nasplug.predictors.capabilities import predicts_latency
from nasplug.predictors.features.runtimes import known_way
from nasplug.quantities import PREDICTED
from nasplug.search_spaces import Architecture, InputError, SearchSpace
from nasplug.search_spaces import space as space_named
from nasplug.search_spaces.errors import closest
from nasplug.search_spaces.networks.gpt import SCALES
from nasplug.text import check_no_torch_file

if TYPE_CHECKING:
    from nasplug.predictors import Hardware, Prediction
    from nasplug.predictors.accuracy.pretraining import Encoder

__all__ = [
    "GPT_PERPLEXITY",
    "KINDS",
    "NETWORK_ENERGY",
    "NETWORK_LATENCY",
    "ArchitecturePredictor",
    "NamedScorer",
    "Scorer",
    "create_predictor",
    "in_runtime",
    "is_known",
    "is_path",
    "is_structural",
    "kind_of",
    "load_predictor",
    "load_shipped",
    "names",
    "opened",
    "predictors_for",
    "zoo_name",
]

KINDS = ("accuracy", "latency")
# Suffix of the names of encoders, after the space's name; an encoder alone predicts nothing.
_ENCODER = "-encoder"
_SUFFIX = ".safetensors"
# Name of the predictor of the perplexities of all scales of HW-GPT-Bench, and their spaces.
GPT_PERPLEXITY = "gpt-perplexity"
_SCALES = frozenset(f"gpt:{scale}" for scale in SCALES)


class Scorer(Protocol):
    """A predictor of one quantity of architectures, as those of the zoo are."""

    def predict(
        self,
        architectures: Sequence[Architecture],
        hardware: Hardware | None = None,
        batch_size: int = 1,
    ) -> Prediction:
        """Predict architectures, a row each."""


@runtime_checkable
class NamedScorer(Scorer, Protocol):
    """A scorer that says what it predicts, and how the study of a search is to name it."""

    @property
    def name(self) -> str:
        """The name that results show."""

    @property
    def sha256(self) -> str | None:
        """Checksum of all that decides the predictions, which a study keeps; None if unknown."""

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the columns: `("latency",)`, or the image sets of accuracies."""


def kind_of(scorer: NamedScorer) -> str:
    """The quantity that a scorer predicts: one of `nasplug.quantities.PREDICTED`."""
    if isinstance(scorer, ArchitecturePredictor):
        return scorer.kind
    # Columns of an accuracy are image sets.
    if len(scorer.targets) == 1 and scorer.targets[0] in PREDICTED:
        return scorer.targets[0]
    return "latency" if predicts_latency(scorer) else "accuracy"


def names() -> list[str]:
    """Names of the trained predictors in the package."""
    file_names = (file.name for file in files("nasplug.zoo").iterdir())
    stems = (n.removesuffix(_SUFFIX) for n in file_names if n.endswith(_SUFFIX) and n[0] != ".")
    return sorted(stem for stem in stems if not stem.endswith(_ENCODER))


def is_path(name: str) -> bool:
    """Whether the name of a predictor stands for a file, not for a predictor of the zoo.

    True for a name with a slash or a suffix, and for the name of a checkpoint in the working folder
    if no predictor of the zoo has it.
    """
    if "/" in name or name.endswith((_SUFFIX, ".json")):
        return True
    return name not in names() and os.path.isfile(name + _SUFFIX)


def load_predictor(
    name: str | PathLike[str], backend: str = "auto", space: SearchSpace | None = None
) -> ArchitecturePredictor:
    """Load a trained predictor.

    Args:
        name: A name of the zoo, such as `"nb201-accuracy"`, or the path of a checkpoint, with or
            without its suffix.
        backend: `"torch"`, `"dgl"`, or `"auto"` for the faster one that is installed.
        space: The space of a checkpoint whose space is installed under no name, such as that of a
            function.

    Raises:
        InputError: If there is no such predictor, the file is damaged or no checkpoint, or its
            space is not at hand.

    Example:
        >>> import nasplug
        >>> predictor = nasplug.load_predictor("nb201-latency")
        >>> fast, slow = nasplug.space("nb201")[0], nasplug.space("nb201")[11000]
        >>> latencies = predictor.predict([fast, slow], "RTX 3090").mean
        >>> latencies.shape, bool((latencies > 0).all())
        ((2, 1), True)
    """
    return _loaded(str(name), backend, space=space)


def _loaded(
    text: str, backend: str = "auto", later: bool = False, space: SearchSpace | None = None
) -> ArchitecturePredictor:
    """Load a predictor; with `later` the model of a file is restored when it is first needed."""
    if not os.path.isfile(text + _SUFFIX):
        check_no_torch_file(text)
    if is_path(text):
        return _open(Path(text), backend, later, space)
    if text not in names():
        raise InputError(
            f"unknown predictor {text!r}; known: {closest(text, names())}; for your own predictor "
            "give the path of its file"
        )
    return _load_from_zoo(text, backend)


@cache
def _load_from_zoo(name: str, backend: str) -> ArchitecturePredictor:
    with as_file(files("nasplug.zoo") / (name + _SUFFIX)) as file:
        # The package's own models can be restored, so it may wait until one is needed.
        return _open(file, backend, later=True)


def _open(
    path: Path, backend: str, later: bool = False, asked: SearchSpace | None = None
) -> ArchitecturePredictor:
    from nasplug.predictors.checkpoint import load_checkpoint
    from nasplug.predictors.registry import restore

    checkpoint = load_checkpoint(path)
    card = checkpoint.card
    if not isinstance(card.get("space"), str):
        raise InputError(f"the card of {path} does not say which search space it is for")
    space = _space_of(path, card["space"], asked)
    name = str(card.get("name", path.stem))
    if later:
        restored = partial(restore, checkpoint, backend)
        return ArchitecturePredictor(name, space, None, card, restore=restored)
    return ArchitecturePredictor(name, space, restore(checkpoint, backend), card)


def _space_of(path: Path, name: str, asked: SearchSpace | None) -> SearchSpace:
    """The space of a checkpoint: the one that is asked for, or an installed one."""
    if asked is not None and asked.name == name:
        return asked
    try:
        return space_named(name)
    except InputError as error:
        # The space of a function has no name that could be opened, but one with a dot.
        if "." not in name:
            raise
        advice = "give its --space and --example" if asked is None else f"not for {asked.name}"
        raise InputError(
            f"{path} is a predictor for space {name} of a function; {advice}"
        ) from error


def opened(
    predictor: str | PathLike[str] | NamedScorer, space: SearchSpace | None = None
) -> NamedScorer:
    """Load a predictor by its name or path, or take it as it is; see `load_predictor`.

    The model of a file is restored when it is first needed: a finished search needs none.

    Raises:
        InputError: If it cannot be loaded, or is no predictor.
    """
    if isinstance(predictor, (str, PathLike)):
        return _loaded(str(predictor), later=True, space=space)
    # The protocol would be compared with the targets, which restore a model.
    if isinstance(predictor, (ArchitecturePredictor, NamedScorer)):
        return predictor
    raise InputError(
        f"{predictor!r} is not a predictor; give a name of the zoo, the path of a checkpoint, or "
        "an object with name, sha256, targets and predict"
    )


def predictors_for(
    space: SearchSpace,
    latency: bool,
    given: Sequence[str | PathLike[str] | NamedScorer],
    others: Collection[str] = (),
) -> dict[str, NamedScorer]:
    """Choose the predictor of each quantity: a given one of that kind, or the zoo's.

    Quality and latency are left out where they have no predictor, if one of them has one.

    Args:
        space: The space of the architectures.
        latency: Whether a latency is needed beside the quality.
        given: Names of the zoo, paths of checkpoints, loaded predictors, or other scorers.
        others: Other quantities that are named in objectives and limits; memory is computed where
            no predictor of it is given.

    Raises:
        InputError: If no quantity, or one of `others`, has a predictor, if one cannot be loaded,
            is for another space or gives no intervals, or if two are of one kind.
    """
    by_kind: dict[str, NamedScorer] = {}
    for item in given:
        predictor = opened(item, space)
        kind = kind_of(predictor)
        if isinstance(predictor, ArchitecturePredictor):
            predictor = predictor.for_space(space)
            _check_intervals(predictor)
        if kind in by_kind:
            raise InputError(
                f"two predictors of {kind} were given, {by_kind[kind].name!r} and "
                f"{predictor.name!r}; give one"
            )
        by_kind[kind] = predictor
    if "latency" in by_kind and not latency:
        raise InputError(f"predictor {by_kind['latency'].name!r} predicts latency; name a device")
    quantities = (space.quality, "latency") if latency else (space.quality,)
    available = [q for q in quantities if q in by_kind or is_known(space, q)]
    if not available:
        raise _none_shipped(space, " or ".join(quantities))
    available += [q for q in others if q not in available and (q != "memory" or q in by_kind)]
    return {q: by_kind.get(q) or load_shipped(space, q) for q in available}


def is_known(space: SearchSpace, quantity: str) -> bool:
    """Whether the package predicts a quantity in a space, or has it measured."""
    if quantity == "accuracy" and (isinstance(space, HasAccuracies) or is_structural(space)):
        return True
    return zoo_name(space, quantity) in names()


def is_structural(space: SearchSpace) -> bool:
    """Whether the package knows no accuracy of a space, and predicts it from other networks."""
    return has_structure_accuracy(space) and zoo_name(space, "accuracy") not in names()


def load_shipped(
    space: SearchSpace, quantity: str
) -> ArchitecturePredictor | MeasuredAccuracy | StructureAccuracy:
    """Load the zoo's predictor of a quantity in a space, or what was measured of it.

    Raises:
        InputError: If the package has none.
    """
    if quantity == "accuracy" and isinstance(space, HasAccuracies):
        return MeasuredAccuracy(space)
    if quantity == "accuracy" and is_structural(space):
        return StructureAccuracy(space)
    name = zoo_name(space, quantity)
    if name not in names():
        raise _none_shipped(space, quantity)
    return load_predictor(name).for_space(space)


def _none_shipped(space: SearchSpace, quantity: str) -> InputError:
    advice = (
        "train one on your measurements with nasplug train, and give its checkpoint with "
        "--predictor"
    )
    if not set(quantity.split(" or ")) & set(KINDS):
        advice = f'give a scorer in predictors=, in Python, whose targets are ("{quantity}",)'
    return InputError(
        f"the package has no predictor of {quantity} for space {space.name}; {advice}"
    )


def in_runtime(chosen: dict[str, NamedScorer], runtime: str) -> None:
    """Bind predictors of latency and energy to a way to run networks, a `Way.text`.

    Raises:
        InputError: If there is no latency predictor, or for the reasons of
            `ArchitecturePredictor.in_way`.
    """
    if "latency" not in chosen:
        raise InputError(
            "a runtime is for predicted latencies; name a device, or leave the runtime out"
        )
    latency = chosen["latency"]
    if not isinstance(latency, ArchitecturePredictor):
        raise InputError(
            f"predictor {latency.name!r} has no choice of runtimes; leave the runtime out"
        )
    chosen["latency"] = latency.in_way(known_way(runtime))
    energy = chosen.get("energy")
    if isinstance(energy, ArchitecturePredictor):
        chosen["energy"] = energy.in_way(known_way(runtime))


def zoo_name(space: SearchSpace, quantity: str) -> str:
    """Name of the zoo's predictor of a quantity in a space, whether or not there is one."""
    if quantity == "perplexity":
        # It was evaluated with whole contexts, whatever the length of a prompt.
        is_scale = space.name.partition(",")[0] in _SCALES
        return GPT_PERPLEXITY if is_scale else f"own-{space.name}-perplexity"
    name = f"{space.name}-{quantity}"
    if name not in names() and quantity == "latency" and space.has_networks:
        return NETWORK_LATENCY
    if name not in names() and quantity == "energy" and space.has_networks:
        return NETWORK_ENERGY
    return name


def _check_intervals(predictor: ArchitecturePredictor) -> None:
    config = predictor.card.get("config")
    if isinstance(config, dict):
        share = config.get("calibration_share")
    else:
        share = getattr(getattr(predictor.model, "config", None), "calibration_share", None)
    if share == 0:
        raise InputError(
            f"predictor {predictor.name!r} has no intervals, because it was trained without a "
            "calibration set; train it with a calibration_share such as 0.15"
        )


def create_predictor(
    kind: str, space: str | SearchSpace, *, backend: str = "auto", **config: Any
) -> ArchitecturePredictor:
    """Create a predictor to fit to your measurements.

    An accuracy predictor gets the package's encoder for the space, which was pretrained without
    labels; without an encoder, it reads the paths of a graph alone.

    Args:
        kind: `"accuracy"` or `"latency"`.
        space: The space of the architectures, or its name.
        backend: `"torch"`, `"dgl"`, or `"auto"` for the faster one that is installed.
        **config: Fields of `TransformerGPConfig`, such as `targets=("cifar10",)`, or of
            `LatencyConfig`; for an accuracy predictor also `encoder`.

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
        raise InputError(f"unknown kind of predictor {kind!r}; known: {', '.join(KINDS)}")
    opened = checked_space(space)
    model: Any
    if kind == "accuracy":
        from nasplug.predictors.accuracy.transformer_gp import transformer_gp

        if "encoder" not in config:
            config["encoder"] = _encoder_of(opened.name, backend)
        model = transformer_gp(backend=backend, **config)
    else:
        from nasplug.predictors.latency.cell_latency import LatencyConfig, LatencyPredictor

        try:
            model = LatencyPredictor(LatencyConfig(**config), backend)
        except TypeError as error:
            raise InputError(f"{error}; see LatencyConfig for the fields") from None
    return ArchitecturePredictor(f"new {kind} predictor", opened, model)


@cache
def _encoder_of(space: str, backend: str) -> Encoder | None:
    """Load the encoder in the package that was pretrained on a space; None if there is none."""
    from nasplug.predictors.accuracy.pretraining import Encoder

    name = f"{space}{_ENCODER}"
    resource = files("nasplug.zoo") / (name + _SUFFIX)
    if not resource.is_file():
        return None
    with as_file(resource) as file:
        return Encoder.load(file, backend)
