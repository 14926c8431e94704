"""Predictors by name, those of installed plug-ins included."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from nasplug.predictors.prediction import Predictor
from nasplug.search_spaces.errors import InputError, closest

if TYPE_CHECKING:
    from nasplug.predictors.checkpoint import Checkpoint

__all__ = ["accepts", "create", "names", "quantity_of", "restore"]

GROUP = "nasplug.predictors"
# Kind in a checkpoint's card -> module and class that reads it; the other kinds are names.
_KINDS = {
    "accuracy": "nasplug.predictors.accuracy.transformer_ensemble:AccuracyPredictor",
    "accuracy-gp": "nasplug.predictors.accuracy.operator_gp:AccuracyGP",
    "cell-gp": "nasplug.predictors.accuracy.array_gp:CellGP",
    "language-gp": "nasplug.predictors.accuracy.language_gp:LanguageGP",
    "latency": "nasplug.predictors.latency.cell_latency:LatencyPredictor",
    "latency-gp": "nasplug.predictors.latency.one_device:LatencyGP",
    "network-energy": "nasplug.predictors.latency.network_energy:NetworkEnergy",
    "network-latency": "nasplug.predictors.latency.network_latency:NetworkLatency",
    "network": "nasplug.predictors.published.predictor:NetworkPredictor",
    "transformer-gp": "nasplug.predictors.accuracy.transformer_gp:TransformerGP",
}


_OF_LATENCY = {"latency", "latency-gp", "network-latency"}
_OF_PERPLEXITY = {"language-gp"}
_OF_ENERGY = {"network-energy"}
# Of these the configuration says what they predict.
_BY_CONFIG = "network"


def quantity_of(card: Mapping[str, Any]) -> str | None:
    """The quantity that a predictor of our own predicts by its card.

    It is `"accuracy"`, `"perplexity"`, `"latency"` or `"energy"`.

    None for a card that does not tell: a plug-in's, or the empty one of a new predictor.
    """
    kind = card.get("predictor")
    config = card.get("config")
    if kind == _BY_CONFIG and isinstance(config, Mapping):
        return str(config.get("kind", "accuracy"))
    if kind not in _KINDS:
        return None
    if kind in _OF_PERPLEXITY:
        return "perplexity"
    if kind in _OF_ENERGY:
        return "energy"
    return "latency" if kind in _OF_LATENCY else "accuracy"


def names() -> list[str]:
    """Names of the predictors that are installed, plug-ins included.

    Example:
        >>> from nasplug import predictors
        >>> "latency-gp" in predictors.names()
        True
    """
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def create(name: str, **options: Any) -> Predictor:
    """A new predictor by name, ready to fit.

    A package adds its own predictor by an entry point of the group `nasplug.predictors` that names
    a class, or a function, that takes the options as keywords and returns a `Predictor`.

    Args:
        name: One of `names()`.
        **options: What the predictor is called with; see its class or function.

    Raises:
        InputError: If no installed package has a predictor of that name, it cannot be imported, it
            does not take an option or lacks one, or what it returns is no `Predictor`.

    Example:
        >>> from nasplug import predictors
        >>> predictors.create("nnformer", targets=("cifar10",), epochs=20).targets
        ('cifar10',)
    """
    factory = _load(name)
    for option in options:
        if not _takes(factory, option):
            known = ", ".join(_options(factory)) or "no options"
            raise InputError(f"predictor {name!r} has no option {option!r}; known: {known}")
    try:
        _signature(factory).bind(**options)
        made = factory(**options)
    # A value of another type, or an option that is missing.
    except TypeError as error:
        raise InputError(f"predictor {name!r} cannot be made: {error}") from error
    if not isinstance(made, Predictor):
        raise InputError(
            f"predictor {name!r} returns a {type(made).__name__}, which is not a Predictor: it "
            "needs targets, fit and predict"
        )
    return made


def accepts(name: str, option: str) -> bool:
    """Whether a predictor can be called with an option of that name.

    Raises:
        InputError: As `create`.
    """
    return _takes(_load(name), option)


def restore(checkpoint: Checkpoint, backend: str = "auto") -> Predictor:
    """The predictor that a checkpoint holds.

    The card's `predictor` is one of our own kinds, or the name of a plug-in whose class has a
    method `from_checkpoint(checkpoint, backend)`.

    Raises:
        InputError: If nothing that is installed reads this kind, or the content does not fit it.
    """
    kind = str(checkpoint.card["predictor"])
    home: Any
    if kind in _KINDS:
        module, _, attribute = _KINDS[kind].partition(":")
        home = getattr(import_module(module), attribute)
    elif kind in names():
        home = _load(kind)
    else:
        known = sorted({*_KINDS, *names()})
        raise InputError(
            f"the checkpoint holds a predictor of kind {kind!r}, which is not installed here; "
            f"installed: {closest(kind, known)}"
        )
    if not (hasattr(home, "from_checkpoint") and getattr(home, "storable", True)):
        raise InputError(f"predictor {kind!r} cannot be loaded: it has no from_checkpoint")
    from nasplug.predictors.checkpoint import restoring

    with restoring(f"a {kind} predictor"):
        made = home.from_checkpoint(checkpoint, backend)
    if not isinstance(made, Predictor):
        raise InputError(
            f"predictor {kind!r} was loaded as a {type(made).__name__}, which is not a Predictor"
        )
    return made


def _load(name: str) -> Callable[..., Any]:
    entry = next(iter(entry_points(group=GROUP, name=name)), None)
    if entry is None:
        raise InputError(f"unknown predictor {name!r}; known: {closest(name, names())}")
    try:
        loaded: Any = entry.load()
    # A plug-in's module may raise anything.
    except Exception as error:
        text = " ".join(str(error).split()) or "no message"
        raise InputError(
            f"predictor {name!r} ({entry.value}) cannot be imported: {type(error).__name__}: {text}"
        ) from error
    if not callable(loaded):
        raise InputError(
            f"predictor {name!r} ({entry.value}) is a {type(loaded).__name__}; "
            "name a class or a function that returns a Predictor"
        )
    factory: Callable[..., Any] = loaded
    return factory


def _signature(factory: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(factory)
    except ValueError:
        # Some compiled callables have none; they judge for themselves.
        return inspect.Signature([inspect.Parameter("options", inspect.Parameter.VAR_KEYWORD)])


def _options(factory: Callable[..., Any]) -> list[str]:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p.name for p in _signature(factory).parameters.values() if p.kind in named]


def _takes(factory: Callable[..., Any], option: str) -> bool:
    kinds = {p.kind for p in _signature(factory).parameters.values()}
    return inspect.Parameter.VAR_KEYWORD in kinds or option in _options(factory)
