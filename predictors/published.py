"""The published predictors by name, ready to fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from nasplug.predictors.network_predictor import (
    OWN_FIELDS,
    NetworkPredictor,
    NetworkPredictorConfig,
)
from nasplug.predictors.networks import form_of
from nasplug.predictors.training import TrainingConfig
from nasplug.search_spaces import InputError

__all__ = ["build", "narformer_v2", "nnformer", "nnlp"]


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
