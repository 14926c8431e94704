"""Energy of a forward pass: latency times mean power, as a share of the board's power."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.checkpoint import (
    Checkpoint,
    load_checkpoint,
    read_config,
    restoring,
    save_checkpoint,
)
from nasplug.predictors.features.runtimes import Way, known_way
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.latency.class_models import class_of
from nasplug.predictors.latency.device_profile import DeviceProfile
from nasplug.predictors.latency.network_latency import NetworkLatency
from nasplug.predictors.latency.power_share import (
    ENDS,
    OFFSET,
    distances,
    half_width,
    held,
    kernel,
    left_out_errors,
    power_features,
    shares_of,
    sizes_of,
    weights_of,
)
from nasplug.predictors.prediction import Array, NotFittedError, Prediction
from nasplug.predictors.statistics.calibration import (
    LEVELS,
    conformal_quantiles,
    left_out_quantiles,
)
from nasplug.search_spaces import Graph, InputError

__all__ = ["EnergyConfig", "NetworkEnergy", "measured_way"]

# Deviations of the sizes within which a network of the same operators is like a measured one.
_NEAR = 1.0
_CALIBRATED = 4
_SMALLEST = 1e-3


@dataclass(frozen=True)
class EnergyConfig:
    """Settings of a `NetworkEnergy`.

    Attributes:
        batch_size: Inputs of a forward pass whose energy was measured.
    """

    batch_size: int = 8


class _Learned(NamedTuple):
    """All that a `NetworkEnergy` learned.

    Attributes:
        center: Means of the sizes of networks, `(sizes,)`.
        spread: Their deviations, `(sizes,)`.
        sizes: Scaled sizes of the learned networks, `(n, sizes)`.
        groups: Position of the group of each, `(n,)`.
        share: Weights of `power_features`, `(features,)`.
        weights: Weights of the learned networks in each GPU's departure, `(n, GPUs)`.
        known: Whether the energy of a group is known on a GPU, `(groups, GPUs)`.
        widths: Half-width of the 90 % interval of logarithms, `(groups, GPUs)`.
        shapes: Quantiles at `LEVELS` in units of that half-width, `(levels, GPUs)`.
        left_out: Quantiles at `LEVELS` of logarithms of power on GPUs that were left out.
    """

    center: Array
    spread: Array
    sizes: Array
    groups: NDArray[np.int64]
    share: Array
    weights: Array
    known: NDArray[np.bool_]
    widths: Array
    shapes: Array
    left_out: Array


class NetworkEnergy:
    """Energy of a forward pass of whole networks on GPUs, in J.

    It is the latency times the power of the board times a share of it, which rises with the time
    that a pass takes and with the traffic of the memory. GPUs that were measured depart from that
    share by an offset and by a Gaussian process over the sizes of networks. On other GPUs the
    interval has the errors of GPUs that were left out, and those of the latency.

    Args:
        config: Settings.
        latency: Predictor of the latency; the package's own if left out.
    """

    kind = "energy"
    name = "network-energy"
    targets = ("energy",)
    whole_networks = True

    def __init__(
        self, config: EnergyConfig | None = None, latency: NetworkLatency | None = None
    ) -> None:
        self.config = config or EnergyConfig()
        self._latency = latency
        self._gpus: tuple[str, ...] = ()
        self._operators: frozenset[frozenset[str]] = frozenset()
        self._learned: _Learned | None = None

    @property
    def latency(self) -> NetworkLatency:
        """Predictor of the latency."""
        if self._latency is None:
            self._latency = _shipped_latency()
        return self._latency

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the GPUs whose energy was learned."""
        return self._gpus

    def fit(
        self,
        graphs: Sequence[Graph],
        targets: Array,
        hardware: Sequence[Setting] | None = None,
        *,
        groups: Sequence[str] | None = None,
    ) -> None:
        """Learn from measured energies.

        Args:
            graphs: Whole networks in random order; every fourth one calibrates.
            targets: Energies in J, shape `(graphs, columns)`; NaN where unknown.
            hardware: GPU, batch size and way to run networks of each column.
            groups: Group of each graph, such as its scale; one group if left out.

        Raises:
            InputError: If shapes do not fit, or a column's device has no board power.
        """
        columns = list(hardware or ())
        logs = np.log(np.asarray(targets, np.float64))
        if logs.shape != (len(graphs), len(columns)) or not columns:
            raise InputError(
                f"targets have the shape {logs.shape}; give a row a graph and a column a device"
            )
        names = list(groups) if groups is not None else ["all"] * len(graphs)
        order = list(dict.fromkeys(names))
        places = np.array([order.index(name) for name in names])
        for column in columns:
            _check_power(column.hardware)
        latencies = [self._latencies(graphs, column).mean[:, 0] for column in columns]
        powers = np.array([column.hardware.power_w for column in columns])
        base = np.log(np.stack(latencies, axis=1) * powers / 1e3)
        features = np.stack(
            [power_features(graphs, *pair) for pair in zip(columns, latencies, strict=True)], axis=1
        )
        held = np.arange(len(graphs)) % _CALIBRATED == _CALIBRATED - 1
        learn = ~held
        rest = logs - base
        share = shares_of(features[learn], rest[learn], places[learn])
        sizes = sizes_of(graphs)
        center, spread = sizes[learn].mean(0), sizes[learn].std(0) + 1e-9
        scaled = (sizes - center) / spread
        departures = rest - features @ share
        weights = np.stack([weights_of(scaled[learn], d) for d in departures[learn].T], axis=1)
        errors = departures - kernel(scaled, scaled[learn]) @ weights
        known = np.stack(
            [np.isfinite(errors[held & (places == k)]).any(0) for k in range(len(order))]
        )
        widths = np.full(known.shape, np.nan)
        shapes = np.empty((len(LEVELS), len(columns)))
        for g in range(len(columns)):
            normal = []
            for k in np.flatnonzero(known[:, g]):
                own = errors[held & (places == k), g]
                own = own[np.isfinite(own)]
                low, high = np.interp(ENDS, LEVELS, conformal_quantiles(own))
                widths[k, g] = max((high - low) / 2, _SMALLEST)
                normal.append(own / widths[k, g])
            shapes[:, g] = conformal_quantiles(np.concatenate(normal))
        left_out = left_out_quantiles(left_out_errors(features, rest, places))
        self._gpus = tuple(column.hardware.name for column in columns)
        self._operators = frozenset(frozenset(graph.ops) for graph in graphs)
        self._learned = _Learned(
            *(center, spread, scaled[learn], places[learn], share, weights),
            *(known, widths, shapes, left_out),
        )

    def predict(
        self,
        graphs: Sequence[Graph],
        hardware: Hardware | None = None,
        batch_size: int = 1,
        runtime: str | None = None,
        latency: Prediction | None = None,
    ) -> Prediction:
        """Predict the energy of a forward pass in J.

        Args:
            graphs: Any number of graphs of whole networks.
            hardware: The GPU; required.
            batch_size: Inputs of a forward pass.
            runtime: How the networks are run, such as `"eager fp16"`; the usual way of the latency
                if left out. Energies were measured in half precision, by PyTorch's autocast.
            latency: Predicted latencies of the graphs in that very way, if they are known already.

        Returns:
            One column; its evidence is `"measured"` if the energy was measured on the GPU at this
            batch size in this way on networks like all of these, else `"zero-shot"`.

        Raises:
            InputError: If no device is given, or it has no board power or is no GPU.
            NotFittedError: If nothing was learned or loaded.
        """
        if hardware is None:
            raise InputError("an energy needs a device; name one as hardware")
        learned = self._learned
        if learned is None:
            raise NotFittedError("this predictor is not fitted; call fit, or load a fitted one")
        device = hardware.hardware if isinstance(hardware, DeviceProfile) else hardware
        _check_power(device)
        near, departure = self._departures(graphs, device)
        way = Way() if runtime is None else known_way(runtime)
        column = self._column(device, batch_size, way)
        known = latency if latency is not None else self._latencies(graphs, column)
        ms, lower, upper = (end[:, 0] for end in (known.mean, known.lower, known.upper))
        width = np.log(upper / lower) / 2
        share = power_features(graphs, column, ms) @ learned.share
        is_known = np.zeros(len(near), np.bool_)
        left_out = max(half_width(learned.left_out), _SMALLEST)
        shape, spread = learned.left_out / left_out, np.hypot(width, left_out)
        evidence, count = "zero-shot", 0
        if device.name in self._gpus:
            g = self._gpus.index(device.name)
            is_measured = _words(way) == _words(measured_way(device))
            if is_measured and batch_size == self.config.batch_size:
                is_known = (near >= 0) & learned.known[near, g]
            share += np.where(is_known, departure, OFFSET * learned.weights[:, g].sum())
            spread = np.where(is_known, learned.widths[near, g], spread)
            if is_known.any() and is_known.all():
                evidence, shape = "measured", learned.shapes[:, g]
                count = int(learned.known[learned.groups, g].sum())
        # What meters read of known networks may be a little more than the board's power.
        center = np.log(ms * device.power_w / 1e3) + np.where(is_known, share, held(share))
        return Prediction(
            targets=self.targets,
            units=("J",),
            center=center[:, None],
            spread=spread[:, None],
            levels=LEVELS,
            residuals=shape[:, None],
            log_scale=(True,),
            evidence=evidence,
            learned=count,
        )

    def _have_same(self, graphs: Sequence[Graph]) -> NDArray[np.bool_]:
        """Whether networks have the operators of learned ones, `(n,)`."""
        return np.array([frozenset(graph.ops) in self._operators for graph in graphs], np.bool_)

    def _departures(
        self, graphs: Sequence[Graph], device: Hardware
    ) -> tuple[NDArray[np.int64], Array]:
        """Group of the learned network that each is like, or −1; departures on a known GPU."""
        assert self._learned is not None
        learned = self._learned
        scaled = (sizes_of(graphs) - learned.center) / learned.spread
        gaps = distances(scaled, learned.sizes)
        is_near = self._have_same(graphs) & (gaps <= _NEAR**2).any(1)
        near = np.where(is_near, learned.groups[gaps.argmin(1)], -1)
        if device.name not in self._gpus:
            return near, np.zeros(len(graphs))
        weights = learned.weights[:, self._gpus.index(device.name)]
        return near, kernel(scaled, learned.sizes) @ weights

    def _column(self, device: Hardware, batch_size: int, way: Way) -> Setting:
        column = self.latency.setting(device, batch_size, way.text or None)
        if class_of(column) != "gpu":
            raise InputError(
                f"the energy on {device.name} is not known: energies are learned from large GPUs "
                "alone; name a GPU such as H100"
            )
        return column

    def _latencies(self, graphs: Sequence[Graph], column: Setting) -> Prediction:
        return self.latency.predict(
            graphs, column.hardware, column.batch_size, column.way.text or None
        )

    def save(self, path: str | Path, about: Mapping[str, Any] | None = None) -> None:
        """Write `<path>.safetensors` and its card; `about` is added to the card."""
        if self._learned is None:
            raise NotFittedError("this predictor is not fitted; call fit first")
        card = {
            "predictor": self.name,
            "config": {"batch_size": self.config.batch_size},
            "gpus": list(self._gpus),
            "operators": sorted(sorted(ops) for ops in self._operators),
        }
        save_checkpoint(path, self._learned._asdict(), {**card, **(about or {})})

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, backend: str = "auto") -> Self:
        """Restore the predictor that a checkpoint holds.

        Raises:
            InputError: If the card or the arrays do not fit.
        """
        with restoring("a network-energy predictor"):
            made = cls(read_config(EnergyConfig, checkpoint.card["config"]))
            made._gpus = tuple(map(str, checkpoint.card["gpus"]))
            made._operators = frozenset(map(frozenset, checkpoint.card["operators"]))
            made._learned = _Learned(**{n: checkpoint.tensors[n] for n in _Learned._fields})
            return made


@cache
def _shipped_latency() -> NetworkLatency:
    with as_file(files("nasplug.zoo") / "network-latency.safetensors") as file:
        return NetworkLatency.from_checkpoint(load_checkpoint(file))


def measured_way(hardware: Hardware) -> Way:
    """The way of the measured energies on a GPU: autocast in the half precision that it has."""
    return Way("eager", "bf16" if "bf16" in hardware.peak_tflops else "fp16")


def _words(way: Way) -> tuple[str, str]:
    """Runtime and precision in words."""
    return way.runtime or "eager", way.precision or "fp32"


def _check_power(hardware: Hardware) -> None:
    if not hardware.power_w > 0:
        raise InputError(
            f"the energy on {hardware.name} is not known, because its description has no board "
            "power; add power_w, in W, from the data sheet to the device's file"
        )
