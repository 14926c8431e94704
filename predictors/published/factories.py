"""The published predictors by name, ready to fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from nasplug.predictors.accuracy.transformer_ensemble import AccuracyConfig, AccuracyPredictor
from nasplug.predictors.latency.cell_latency import LatencyConfig, LatencyPredictor
from nasplug.predictors.models.ledgformer import LeDGFormerConfig
from nasplug.predictors.published.predictor import (
    OWN_FIELDS,
    NetworkPredictor,
    NetworkPredictorConfig,
)
from nasplug.predictors.published.recipes import form_of
from nasplug.predictors.training.config import TrainingConfig
from nasplug.search_spaces import InputError

__all__ = ["build", "ledgformer", "narformer_v2", "nnformer", "nnlp"]


def nnformer(
    kind: str = "accuracy",
    targets: Sequence[str] | None = None,
    backend: str = "auto",
    **options: Any,
) -> NetworkPredictor:
    """NN-Former (Xu et al., CVPR 2025) with its published sizes and recipe; see `build`."""
    return build("nnformer", kind, targets, backend, **options)


def narformer_v2(
    kind: str = "accuracy",
    targets: Sequence[str] | None = None,
    backend: str = "auto",
    **options: Any,
) -> NetworkPredictor:
    """NAR-Former V2 (Yi et al., NeurIPS 2023) with its published sizes and recipe; see `build`."""
    return build("narformer-v2", kind, targets, backend, **options)


def nnlp(
    kind: str = "accuracy",
    targets: Sequence[str] | None = None,
    backend: str = "auto",
    **options: Any,
) -> NetworkPredictor:
    """NNLP (Liu et al., ICPP 2022) with its published sizes and recipe; see `build`."""
    return build("nnlp", kind, targets, backend, **options)


def ledgformer(
    kind: str = "accuracy",
    targets: Sequence[str] | None = None,
    backend: str = "auto",
    **options: Any,
) -> AccuracyPredictor | LatencyPredictor:
    """A predictor with this network, ready to fit.

    An accuracy predictor learns one or more targets of graphs; a latency predictor learns any
    number of devices at once and answers for others from their description.

    Args:
        kind: `"accuracy"` or `"latency"`.
        targets: Names of the columns; by default one, named as the kind.
        backend: Of the network's layers.
        **options: Fields of `AccuracyConfig` or `LatencyConfig` (`members`, `dim`, …), of
            `TrainingConfig` (`epochs`, …) and of `LeDGFormerConfig` (`dynamic`, `text`, …).

    Raises:
        InputError: If the kind or an option is unknown, or a latency has targets of other names.
    """
    if kind not in ("accuracy", "latency"):
        raise InputError(f"unknown kind {kind!r}; there are accuracy, latency")
    form = AccuracyConfig if kind == "accuracy" else LatencyConfig
    own = _option_names(form) - {"network", "options", "training", "targets"}
    recipe = _option_names(TrainingConfig) - own
    network = _option_names(LeDGFormerConfig) - own
    network -= {"vocabulary", "targets", "simplified", "hardware", "devices"}
    unknown = sorted(set(options) - own - recipe - network)
    if unknown:
        known = ", ".join(sorted(own | recipe | network))
        raise InputError(f"unknown option {unknown[0]!r}; there are {known}")
    given: dict[str, Any] = {k: v for k, v in options.items() if k in own}
    if kind == "accuracy":
        given["targets"] = ("accuracy",) if targets is None else tuple(targets)
    elif targets is not None and tuple(targets) != ("latency",):
        raise InputError(f"a latency predictor has the one target latency, not {tuple(targets)}")
    else:
        # An unknown device is known by its description alone.
        given.setdefault("similar", 0.0)
    config: Any = form(
        **given, network="ledg", options={k: v for k, v in options.items() if k in network}
    )
    training = replace(config.training, **{k: v for k, v in options.items() if k in recipe})
    config = replace(config, training=training)
    if kind == "accuracy":
        return AccuracyPredictor(config, backend)
    return LatencyPredictor(config, backend)


def build(
    network: str,
    kind: str = "accuracy",
    targets: Sequence[str] | None = None,
    backend: str = "auto",
    **options: Any,
) -> NetworkPredictor:
    """A predictor from a network's name and the options that differ from the published ones.

    Args:
        network: A key of `networks.NETWORKS`.
        kind: `"accuracy"` or `"latency"`.
        targets: Names of the columns; by default one, named as the kind.
        backend: Of the network's layers.
        **options: Fields of `NetworkPredictorConfig` (`members`, `calibration_share`, …), of the
            recipe (`TrainingConfig`: `epochs`, `learning_rate`, …) and of the network's config.

    Raises:
        InputError: If a name is unknown; the message names those that there are.
    """
    form = form_of(network, kind)
    own = [f.name for f in fields(NetworkPredictorConfig)[5:]]
    recipe = [f.name for f in fields(TrainingConfig)]
    sizes = [f.name for f in fields(form.config) if f.name not in OWN_FIELDS]
    unknown = [name for name in options if name not in {*own, *recipe, *sizes}]
    if unknown:
        raise InputError(
            f"unknown option {unknown[0]!r}; {network} has {', '.join((*own, *recipe, *sizes))}"
        )
    config = NetworkPredictorConfig(
        network,
        kind,
        (kind,) if targets is None else tuple(targets),
        replace(form.recipe, **{k: v for k, v in options.items() if k in recipe}),
        {k: v for k, v in options.items() if k in sizes},
        **{k: v for k, v in options.items() if k in own},
    )
    return NetworkPredictor(config, backend)


def _option_names(form: Any) -> set[str]:
    return {part.name for part in fields(form)}
