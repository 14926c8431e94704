"""The published predictors by name, ready to fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from nasplug.predictors.accuracy.transformer_ensemble import AccuracyConfig, AccuracyPredictor
from nasplug.predictors.latency.cell_latency import LatencyConfig, LatencyPredictor
from nasplug.predictors.models.ledgformer import LeDGFormerConfig
from nasplug.predictors.options import check_options, field_names, grouped
from nasplug.predictors.published.predictor import (
    OWN_FIELDS,
    NetworkPredictor,
    NetworkPredictorConfig,
)
from nasplug.predictors.published.recipes import form_of
from nasplug.predictors.training.config import TrainingConfig
from nasplug.search_spaces import InputError

__all__ = ["build", "ledgformer", "narformer_v2", "nnformer", "nnlp"]

# Fields of LeDG-Former's configuration that no caller gives.
SET_BY_PREDICTOR = ("vocabulary", "targets", "simplified", "hardware", "devices")


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
        raise InputError(f"unknown kind {kind!r}; known: accuracy, latency")
    form = AccuracyConfig if kind == "accuracy" else LatencyConfig
    names = set(field_names(form, ("network", "options", "training", "targets")))
    recipe_names = set(field_names(TrainingConfig)) - names
    network_names = set(field_names(LeDGFormerConfig, SET_BY_PREDICTOR)) - names
    check_options(sorted(options), sorted(names | recipe_names | network_names))
    settings, recipe, network = grouped(options, names, recipe_names, network_names)
    if kind == "accuracy":
        settings["targets"] = ("accuracy",) if targets is None else tuple(targets)
    elif targets is not None and tuple(targets) != ("latency",):
        raise InputError(f"a latency predictor has the single target latency, not {tuple(targets)}")
    else:
        # An unknown device is known by its description alone.
        settings.setdefault("similar", 0.0)
    config: Any = form(**settings, network="ledg", options=network)
    config = replace(config, training=replace(config.training, **recipe))
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
        network: A key of `recipes.NETWORKS`.
        kind: `"accuracy"` or `"latency"`.
        targets: Names of the columns; by default one, named as the kind.
        backend: Of the network's layers.
        **options: Fields of `NetworkPredictorConfig` (`members`, `calibration_share`, …), of the
            recipe (`TrainingConfig`: `epochs`, `learning_rate`, …) and of the network's config.

    Raises:
        InputError: If a name is unknown; the message names those that there are.
    """
    form = form_of(network, kind)
    names = field_names(NetworkPredictorConfig)[5:]
    recipe_names = field_names(TrainingConfig)
    sizes = field_names(form.config, OWN_FIELDS)
    check_options(options, [*names, *recipe_names, *sizes])
    settings, recipe, network_options = grouped(options, names, recipe_names, sizes)
    config = NetworkPredictorConfig(
        network,
        kind,
        (kind,) if targets is None else tuple(targets),
        replace(form.recipe, **recipe),
        network_options,
        **settings,
    )
    return NetworkPredictor(config, backend)


# Published sizes and recipes: NN-Former (Xu et al., CVPR 2025), NAR-Former V2 (Yi et al., NeurIPS
# 2023), and NNLP (Liu et al., ICPP 2022); called as `build` without the name of the network.
nnformer = partial(build, "nnformer")
narformer_v2 = partial(build, "narformer-v2")
nnlp = partial(build, "nnlp")
