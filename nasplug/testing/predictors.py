"""The contract of a predictor, tried on made-up measurements of a few architectures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.devices.hardware import hardware as device_named
from nasplug.predictors import Hardware, Prediction, Predictor
from nasplug.predictors.capabilities import (
    KnowsDevices,
    TellsFamiliar,
    is_storable,
    predicts_latency,
)
from nasplug.predictors.features import Setting
from nasplug.search_spaces import Graph, SearchSpace
from nasplug.search_spaces import space as space_named
from nasplug.testing.expectations import expect, expect_refusal

__all__ = ["check_predictor"]

# Networks compute in single precision, and sum in another order in another batch.
RELATIVE = 1e-3


@dataclass(frozen=True)
class _Measured:
    """Graphs with made-up measurements.

    Attributes:
        learn: Graphs to learn from.
        values: Their values in units, shape `(learn, targets)`.
        new: Other graphs.
        columns: The device of a latency as the one item; None for an accuracy.
    """

    learn: list[Graph]
    values: NDArray[np.float64]
    new: list[Graph]
    columns: list[Setting] | None

    @property
    def device(self) -> Hardware | None:
        return self.columns[0].hardware if self.columns else None

    def taught(self, model: Any) -> Any:
        """The model after `fit`."""
        model.fit(self.learn, self.values.copy(), self.columns)
        return model

    def predictions(self, model: Any, graphs: list[Graph]) -> Prediction:
        """Predict graphs on the device that was learned."""
        prediction: Prediction = model.predict(graphs, self.device, 1)
        return prediction


def check_predictor(
    make: Callable[[], Any],
    space: SearchSpace | str = "nb201",
    count: int = 80,
    hardware: str | Hardware = "GTX 1080 Ti",
    seed: int = 0,
) -> None:
    """Check that a predictor keeps the promises of `Predictor`.

    It is fitted twice on made-up measurements that grow with the FLOPs of an architecture:
    accuracies in percent, or latencies in ms of one device if it is a predictor of latency.

    Args:
        make: Makes a predictor that has learned nothing.
        space: The space whose architectures it reads, or its name.
        count: Architectures to learn from.
        hardware: The device of a latency.
        seed: Seed of the architectures and of the noise of their measurements.

    Raises:
        AssertionError: If a promise is broken; the text says which.

    Example:
        >>> import nasplug
        >>> from nasplug.testing import check_predictor
        >>> check_predictor(lambda: nasplug.predictors.create("accuracy-gp"), space="macro")
    """
    model = make()
    expect(isinstance(model, Predictor), f"{model!r} lacks targets, fit or predict")
    targets = model.targets
    expect(isinstance(targets, tuple) and targets, "targets is not a tuple of at least one name")
    expect(len(set(targets)) == len(targets), f"targets names one column twice: {targets}")
    opened = space_named(space) if isinstance(space, str) else space
    device = device_named(hardware) if predicts_latency(model) else None
    measured = _made_up(opened, len(targets), count, device, seed)
    _check_refusals(make, measured)
    measured.taught(model)
    prediction = measured.predictions(model, measured.new)
    _check_prediction(prediction, targets, len(measured.new))
    _check_graphs_apart(model, measured, prediction)
    again = measured.predictions(measured.taught(make()), measured.new)
    expect(
        _close(again, prediction),
        "two fits on the same graphs give different predictions; fix the seed",
    )
    _check_abilities(model, measured)
    if is_storable(model):
        _check_storing(model, measured, prediction)


def _made_up(
    space: SearchSpace, targets: int, count: int, device: Hardware | None, seed: int
) -> _Measured:
    generator = np.random.default_rng(seed)
    new = max(count // 4, 8)
    archs = list(
        {(arch := space.sample(generator)).arch_id: arch for _ in range(4 * count)}.values()
    )
    archs = archs[: count + new]
    expect(len(archs) == count + new, f"space {space.name} has too few members for this check")
    graphs = space.to_graphs(archs)
    flops = np.array([graph.total("flops") for graph in graphs])
    share = flops / flops.max()
    noise = generator.normal(size=(len(graphs), targets))
    if device is not None:
        values = (0.5 + 5 * share[:, None]) * np.exp(0.02 * noise)
    else:
        values = 50 + 30 * np.sqrt(share)[:, None] + 0.5 * noise
    columns = None if device is None else [Setting(device, 1)]
    return _Measured(graphs[:count], values[:count], graphs[count:], columns)


def _check_refusals(make: Callable[[], Any], measured: _Measured) -> None:
    graphs, values = measured.learn, measured.values
    expect_refusal(lambda: measured.predictions(make(), measured.new), "predict before fit")
    expect_refusal(
        lambda: make().fit(graphs, values[:-1], measured.columns),
        "fit with fewer targets than graphs",
    )
    if measured.columns is not None:
        expect_refusal(
            lambda: make().fit(graphs, values, None), "fit of a latency without a device"
        )
    expect_refusal(lambda: make().fit([], values[:0], measured.columns), "fit without graphs")


def _check_prediction(prediction: Prediction, targets: tuple[str, ...], count: int) -> None:
    """Shapes, order and finiteness of all that a prediction holds."""
    expect(isinstance(prediction, Prediction), f"predict returns {type(prediction).__name__}")
    expect(
        prediction.targets == targets,
        f"a prediction has the targets {prediction.targets}, not {targets}",
    )
    shape = (count, len(targets))
    for name in ("units", "log_scale"):
        size = len(getattr(prediction, name))
        expect(size == len(targets), f"{name} has {size} entries for {len(targets)} targets")
    for name in ("center", "spread", "mean", "std", "lower", "upper"):
        value = getattr(prediction, name)
        expect(value.shape == shape, f"{name} has shape {value.shape}, not {shape}")
        expect(np.isfinite(value).all(), f"{name} is not finite")
    expect((prediction.spread > 0).all(), "spread is not positive")
    levels, residuals = prediction.levels, prediction.residuals
    expect(levels.ndim == 1 and len(levels) > 1, "levels is not one row of probabilities")
    expect(levels[0] > 0 and levels[-1] < 1, "levels do not lie between 0 and 1")
    expect((np.diff(levels) > 0).all(), "levels are not in ascending order")
    wanted = (len(levels), len(targets))
    expect(residuals.shape == wanted, f"residuals have shape {residuals.shape}, not {wanted}")
    expect((np.diff(residuals, axis=0) >= 0).all(), "residuals are not in ascending order")
    expect((prediction.lower <= prediction.upper).all(), "lower lies above upper")


def _close(first: Prediction, second: Prediction) -> bool:
    return all(
        np.allclose(getattr(first, name), getattr(second, name), rtol=RELATIVE, atol=RELATIVE)
        for name in ("mean", "lower", "upper")
    )


def _check_graphs_apart(model: Any, measured: _Measured, prediction: Prediction) -> None:
    """A graph's prediction does not depend on the other graphs, nor on their order."""
    new = measured.new
    empty = measured.predictions(model, [])
    expect(empty.mean.shape == (0, len(model.targets)), "predict of an empty list is not empty")
    expect(
        _close(measured.predictions(model, new), prediction),
        "two calls of predict give different predictions",
    )
    backwards = measured.predictions(model, new[::-1]).mean[::-1]
    same_order = np.allclose(backwards, prediction.mean, rtol=RELATIVE)
    expect(same_order, "a prediction depends on the order of the graphs")
    alone = measured.predictions(model, new[:1]).mean
    is_same = np.allclose(alone, prediction.mean[:1], rtol=RELATIVE)
    expect(is_same, "a graph gets another prediction alone than in a list")


def _check_abilities(model: Any, measured: _Measured) -> None:
    if isinstance(model, TellsFamiliar):
        familiar = model.familiar(measured.new)
        is_mask = familiar is None or np.shape(familiar) == (len(measured.new),)
        expect(is_mask, "familiar must return one bool per graph, or None")
    if isinstance(model, KnowsDevices) and measured.columns is not None:
        devices = model.devices
        expect(measured.columns[0].key in devices, "devices lacks the device that fit was given")
        logs = model.log_latency(measured.new, measured.columns)
        expect(
            logs.shape == (len(measured.new), 1), "log_latency does not have one column per device"
        )


def _check_storing(model: Any, measured: _Measured, prediction: Prediction) -> None:
    from nasplug.predictors.checkpoint import load_checkpoint

    reads_back = getattr(type(model), "from_checkpoint", None)
    expect(reads_back, "a predictor with save needs from_checkpoint to read its file")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "kept"
        model.save(path, {"space": "any"})
        checkpoint = load_checkpoint(path)
    expect("predictor" in checkpoint.card, "save writes a card without the key predictor")
    restored = reads_back(checkpoint, "auto")  # type: ignore[misc]
    is_same = _close(measured.predictions(restored, measured.new), prediction)
    expect(is_same, "a predictor gives other predictions after saving and loading")
