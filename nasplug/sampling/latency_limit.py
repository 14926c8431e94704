"""A limit on the latency of a trial's network, kept before the network is trained."""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from optuna import TrialPruned
from scipy.special import ndtr

from nasplug.arguments import checked_probability
from nasplug.candidates.constraints import Constraint, parse_constraint
from nasplug.predicting.intervals import in_words
from nasplug.predicting.predict import NetworkPrediction, predict
from nasplug.predictors.hardware import Hardware
from nasplug.quantities import COUNTED, QUANTITIES, images_per_second
from nasplug.search_spaces import Graph, InputError

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

__all__ = ["PREDICTED", "latency_constraint", "network_of", "probability_at_most"]

# User attribute of a trial with the latency that was predicted for its network.
PREDICTED = "nasplug:latency"
# Quantities that are computed of a network, and all that may be limited.
_COMPUTED = ("memory", *COUNTED)
_LIMITED = ("latency", "throughput", *_COMPUTED)
# Standard deviations from the middle of a normal distribution to the end of its 90 % interval.
_END = 1.6448536
# Networks of this process whose latency was predicted, by digest; the last ones.
_networks: OrderedDict[str, Graph] = OrderedDict()
_MOST_NETWORKS = 1_000


def latency_constraint(
    trial: BaseTrial,
    model: Any,
    example: Any,
    hardware: str | os.PathLike[str] | Hardware,
    constraint: str | Constraint,
    *,
    probability: float = 0.9,
    **options: Any,
) -> NetworkPrediction:
    """Predict the latency of a trial's network, and end the trial if it misses a limit.

    The limit may be on throughput, too, or on what is computed of the network: memory, file size,
    parameters or multiply-accumulates.

    To be called in an objective before the training, with any sampler. Optuna's constraint of the
    trial is set to the relative distance to the limit, ≤ 0 if the limit is met. The prediction is
    kept as the trial's user attribute `nasplug:latency`.

    Args:
        trial: The trial.
        model: Its network, as `nasplug.predict` takes it; it is not run.
        example: Input of a PyTorch module; None for an ONNX file.
        hardware: The device.
        constraint: Limit such as `"latency<=4ms"`, `"fps>=30"` or `"memory<=64MB"`.
        probability: The trial ends if the limit is missed with at least this probability.
        **options: Further arguments of `nasplug.predict`, such as `batch_size` or `runtime`.

    Returns:
        The prediction.

    Raises:
        TrialPruned: If the limit is missed with at least that probability.
        InputError: If the network cannot be read, or the constraint is no upper limit on a latency,
            no lower one on a throughput, and none on what is computed.

    Example:
        >>> import optuna, torch, nasplug
        >>> def objective(trial):
        ...     width = trial.suggest_int("width", 8, 64)
        ...     model = torch.nn.Sequential(torch.nn.Conv2d(3, width, 3), torch.nn.ReLU())
        ...     example = torch.zeros(1, 3, 32, 32)
        ...     nasplug.latency_constraint(trial, model, example, "RTX 3090", "latency<=4ms")
        ...     return float(width)  # stands for a training
        >>> study = optuna.create_study(direction="maximize")
        >>> study.optimize(objective, n_trials=2)
        >>> [trial.constraints["latency<=4ms"] <= 0 for trial in study.trials]
        [True, True]
    """
    checked_probability(probability)
    limit = constraint if isinstance(constraint, Constraint) else parse_constraint(constraint)
    wanted = {"latency": True, "throughput": False}.get(limit.name, limit.is_upper)
    if limit.name not in _LIMITED or limit.is_upper != wanted:
        raise InputError(
            f"{limit} is neither an upper limit on a latency, nor a lower one on a throughput, nor "
            f"one on {', '.join(_COMPUTED[:-1])} or {_COMPUTED[-1]}; write it like latency<=4ms"
        )
    predicted = predict(model, example, hardware=hardware, **options)
    ends = {"mean": predicted.mean, "lower": predicted.lower, "upper": predicted.upper}
    value = _value(predicted, limit.name)
    trial.set_constraint(str(limit), (1 if limit.is_upper else -1) * (value / limit.bound - 1))
    trial.set_user_attr(
        PREDICTED,
        {
            **ends,
            "hardware": predicted.hardware.name,
            "batch_size": 1 if predicted.batch_fixed else predicted.batch_size,
            "setting": predicted.setting,
            "network": _remembered(predicted.graph),
        },
    )
    if limit.name in _COMPUTED:
        if (value > limit.bound) if limit.is_upper else (value < limit.bound):
            kind = QUANTITIES[limit.name]
            raise TrialPruned(f"{limit} is missed: {kind.words} {kind.text(value)}")
        return predicted
    bound = limit.bound
    if limit.name == "throughput":
        images = 1 if predicted.batch_fixed else predicted.batch_size
        bound = images_per_second(bound, images)
    missed = 1 - probability_at_most(predicted, bound)
    if missed >= probability:
        raise TrialPruned(
            f"{limit} is missed with probability {missed:.2f}: the network is predicted to take "
            f"{in_words(ends)} on {predicted.hardware.name}"
        )
    return predicted


def _value(predicted: NetworkPrediction, name: str) -> float:
    """A quantity of a predicted network, in its canonical unit."""
    if name == "latency":
        return predicted.mean
    if name == "throughput":
        return predicted.images_per_second
    if name == "memory":
        return predicted.memory.total
    return predicted.size_mb if name == "size" else predicted.graph.total(name)


def probability_at_most(predicted: NetworkPrediction, bound: float) -> float:
    """Probability that a latency is at most a bound in ms, on a logarithmic scale.

    Each half of the distribution has the width of its side of the interval.
    """
    distance = math.log(bound / predicted.mean)
    end = predicted.upper if distance > 0 else predicted.lower
    if end <= 0:
        return 0.5
    width = abs(math.log(end / predicted.mean)) / _END
    return float(ndtr(distance / width)) if width else float(distance >= 0)


def network_of(digest: str) -> Graph | None:
    """The graph of a network whose latency this process predicted; None for others."""
    return _networks.get(digest)


def _remembered(graph: Graph) -> str:
    _networks[graph.digest] = graph
    _networks.move_to_end(graph.digest)
    while len(_networks) > _MOST_NETWORKS:
        _networks.popitem(last=False)
    return graph.digest
