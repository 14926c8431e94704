"""Predictors of architectures: a predictor of graphs, bound to one search space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nasplug.devices.hardware import hardware as device_named
from nasplug.predictors.capabilities import (
    Explains,
    KnowsRuntimes,
    ReadsArrays,
    TellsFamiliar,
    predicts_latency,
    reads_functions,
    reads_networks,
)
from nasplug.predictors.features.runtimes import EAGER, check_way, default_way, parse_way
from nasplug.predictors.registry import quantity_of
from nasplug.search_spaces import Architecture, CodedSpace, Graph, InputError, SearchSpace

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from nasplug.predictors import Hardware, Prediction
    from nasplug.predictors.features.runtimes import Way
    from nasplug.predictors.latency.calibrated_networks import CalibratedNetworks
    from nasplug.predictors.latency.measured_device import MeasuredDevice

__all__ = ["NETWORK_ENERGY", "NETWORK_LATENCY", "ArchitecturePredictor", "check_labels"]

# Name of the predictor that reads the networks of every space of whole networks.
NETWORK_LATENCY = "network-latency"
# Name of the predictor of their energies.
NETWORK_ENERGY = "network-energy"
# Number of members of a space of numbers whose arrays are made at once.
CODES = 32_768
# Range of labels; outside of it squares overflow or vanish in a network's float32 numbers.
LEAST, MOST = 1e-9, 1e9
# Keys of a card that describe data, training and quality, not the predictor itself.
_ABOUT = ("description", "training", "quality", "provenance")


class ArchitecturePredictor:
    """Predictor of architectures of one space.

    Attributes:
        name: Name in the zoo, or of the predictor's file.
        space: The space of the architectures.
        card: The trainer's record of data, training and quality; empty for a new predictor.
        runtime: `Way.text` of the chosen way to run networks whose latency is predicted; None if
            none was chosen.
        calibrated: Devices that were learned from their profiles, by the profile's digest.
    """

    def __init__(
        self,
        name: str,
        space: SearchSpace,
        model: Any,
        card: dict[str, Any] | None = None,
        runtime: str | None = None,
        *,
        restore: Callable[[], Any] | None = None,
    ) -> None:
        """Bind a model to a space; with `restore` the model is made when it is first needed."""
        self.name = name
        self.space = space
        self.card = card or {}
        self.runtime = runtime
        self._restore = restore
        if restore is None:
            self.model = model
        self.calibrated: dict[str, MeasuredDevice | CalibratedNetworks] = {}

    def for_space(self, space: SearchSpace) -> ArchitecturePredictor:
        """Bind the predictor to another space.

        A predictor of whole networks reads any space of whole networks; any other predictor reads
        its own space alone.

        Raises:
            InputError: If the predictor cannot read the space.
        """
        if space.name == self.space.name:
            return self
        # That of perplexities refuses a network of a size that it has not learned.
        if space.quality == self.kind == "perplexity":
            return self._bound(space, self.runtime)
        if space.has_networks and (self._is_of_networks or reads_networks(self.model)):
            return self._bound(space, self.runtime)
        raise InputError(
            f"predictor {self.name!r} is for space {self.space.name}, not for {space.name}"
        )

    def with_runtime(
        self,
        runtime: str | None = None,
        precision: str | None = None,
        unit: str | None = None,
        threads: int | None = None,
    ) -> ArchitecturePredictor:
        """Bind the latency predictor to a way to run networks; see `nasplug.predict` for the words.

        Raises:
            InputError: If a word is unknown, or the predictor knows no runtimes.
        """
        from nasplug.predictors.features.runtimes import asked_way

        way = asked_way(runtime, precision, unit, threads)
        return self if way is None else self.in_way(way)

    def in_way(self, way: Way) -> ArchitecturePredictor:
        """Bind the latency predictor to a way to run networks.

        Raises:
            InputError: If the predictor knows no runtimes.
        """
        if not (self._is_of_networks or isinstance(self.model, KnowsRuntimes)):
            raise InputError(
                f"predictor {self.name!r} knows a single runtime; leave the runtime out, or use "
                f"{NETWORK_LATENCY!r}"
            )
        return self._bound(self.space, way.text or EAGER)

    def _bound(self, space: SearchSpace, runtime: str | None) -> ArchitecturePredictor:
        """Bind the predictor to another space or runtime; both share the model."""
        model = partial(getattr, self, "model")
        return ArchitecturePredictor(self.name, space, None, self.card, runtime, restore=model)

    @property
    def _is_of_networks(self) -> bool:
        """Whether the card says that any network is read, in a chosen runtime.

        False where the model itself has to be asked, which takes a second to restore.
        """
        return self.card.get("predictor") in (NETWORK_LATENCY, NETWORK_ENERGY)

    def runtime_on(self, hardware: Hardware) -> str | None:
        """Runtime of networks on a device, if it was chosen or follows from the space; else None.

        Networks of a space of ONNX files are run by the usual runtime of such files.
        """
        from nasplug.predictors.latency.device_profile import DeviceProfile

        way = parse_way(self.runtime or "")
        # A calibrated device stands for the runtime that it was measured in.
        if isinstance(hardware, DeviceProfile) and self.runtime is not None:
            return way.completed(hardware.usual_way).text
        if way.runtime or isinstance(hardware, DeviceProfile) or not self.space.deployed:
            return self.runtime
        knows_runtimes = self._is_of_networks
        if quantity_of(self.card) is None:
            knows_runtimes = isinstance(self.model, Explains)
        if not knows_runtimes or hardware.kind in ("fpga", "asic"):
            # A chip of its own runs what its compiler makes, of whatever networks.
            return self.runtime
        runtime = default_way(hardware, deployed=True, unit=way.unit).runtime
        return replace(way, runtime=runtime or EAGER).text

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the predicted columns."""
        targets: tuple[str, ...] = self.model.targets
        return targets

    @property
    def kind(self) -> str:
        """Predicted quantity: `"accuracy"`, `"perplexity"`, `"latency"` or `"energy"`."""
        # A model is restored where its card does not tell.
        return quantity_of(self.card) or ("latency" if predicts_latency(self.model) else "accuracy")

    @property
    def sha256(self) -> str | None:
        """SHA-256 of the weights; None for a predictor that was not loaded."""
        return self.card.get("sha256")

    @cached_property
    def model(self) -> Any:
        """The predictor of graphs behind the predictor (see `nasplug.predictors`)."""
        assert self._restore is not None
        return self._restore()

    def graphs(self, architectures: Sequence[Architecture | Graph | str]) -> list[Graph]:
        """Make the graphs of architectures that the predictor reads; texts are parsed.

        A predictor of a property of the function, such as accuracy, reads one graph for all
        architectures that the space knows to be equal (`SearchSpace.normal_form`).

        Raises:
            InputError: If a text is malformed, or a graph is that of a cell where the predictor
                reads whole networks.
        """
        whole = reads_networks(self.model)
        of_functions = self._of_functions
        of_cells = self.space.normal_graph if of_functions else self.space.to_graph
        make = self.space.to_network if whole else of_cells
        graphs = []
        for item in architectures:
            if isinstance(item, Graph):
                # A latency of the cell's nodes alone would look plausible.
                if whole and not self.space.whole_networks and item.ops[-1:] != ("Output",):
                    raise InputError(
                        f"predictor {self.name!r} reads whole networks, but a graph of "
                        f"{self.space.name} is a cell; give the architecture, or the graph that "
                        "to_network makes"
                    )
                graphs.append(self.space.normal_form(item) if of_functions else item)
            else:
                arch = self.space.parse(item) if isinstance(item, str) else item
                graphs.append(make(arch))
        return graphs

    @property
    def _of_functions(self) -> bool:
        """Whether architectures of equal function get equal predictions, whatever their costs."""
        return self.kind == "accuracy" and reads_functions(self.model)

    def fit(
        self,
        architectures: Sequence[Architecture | Graph | str],
        targets: NDArray[np.float64],
        hardware: Sequence[Any] | None = None,
        **options: Any,
    ) -> None:
        """Fit the predictor to measured architectures, in random order; an earlier fit is
        discarded.

        Args:
            architectures: At least 40 architectures of the predictor's space.
            targets: Measured values in units, shape `(n,)` or `(n, targets)`; for a latency
                `(n, devices)` in ms.
            hardware: For a latency the `Setting` of each column.
            **options: See `AccuracyPredictor.fit` and `LatencyPredictor.fit`.

        Raises:
            InputError: If shapes do not fit, a target is out of range, or there are too few
                architectures.
        """
        check_labels(targets)
        self.model.fit(self.graphs(architectures), targets, hardware, **options)
        self.card = {}

    def predict(
        self,
        architectures: Sequence[Architecture | Graph | str],
        hardware: str | PathLike[str] | Hardware | None = None,
        batch_size: int = 1,
        latency: Prediction | None = None,
    ) -> Prediction:
        """Predict architectures.

        Args:
            architectures: Architectures of the predictor's space, their texts, or graphs.
            hardware: A device, its name or the path of its file, if a latency is predicted. A
                calibrated device is predicted from its own measurements.
            batch_size: Images a forward pass, for a latency.
            latency: Latencies on which a predicted energy rests, see `energy.latency_of_energy`;
                they are predicted if left out.

        Returns:
            A prediction with a row an architecture and a column a target.

        Raises:
            InputError: If a text is malformed, or the device is missing or unknown, or was
                calibrated at another batch size or on other networks.
        """
        from nasplug.predictors.latency.device_profile import DeviceProfile

        device = None if hardware is None else device_named(hardware)
        graphs = self.graphs(architectures)
        if isinstance(device, DeviceProfile) and self.kind == "latency":
            from nasplug.predicting.few_shot import predict_few_shot

            return predict_few_shot(self, device, graphs, batch_size, self.runtime)
        runtime = None if device is None else self.runtime_on(device)
        chosen: dict[str, Any] = {} if latency is None else {"latency": latency}
        if device is not None and runtime is not None:
            check_way(device, parse_way(runtime))
            chosen["runtime"] = runtime
        result: Prediction = self.model.predict(graphs, device, batch_size, **chosen)
        return result

    def predict_codes(
        self,
        codes: NDArray[np.uint32],
        hardware: Hardware | None = None,
        batch_size: int = 1,
    ) -> Prediction | None:
        """Predict members of a space of numbers by arrays, without graphs.

        Predicts tens of thousands a second, where `predict` makes a graph of each member.

        Args:
            codes: Codes of members, such as `space("nb101").codes`; shape `(n,)`.
            hardware: Not used: no predictor that reads arrays predicts a latency.
            batch_size: Not used.

        Returns:
            A prediction with a row a code; None if the predictor reads graphs alone.
        """
        if not self._reads_arrays:
            return None
        parts: list[Prediction] = [
            self.model.predict_arrays(self._arrays(part)) for part in _parts(codes)
        ]
        center = np.concatenate([part.center for part in parts])
        spread = np.concatenate([part.spread for part in parts])
        return replace(parts[0], center=center, spread=spread)

    def familiar(
        self, architectures: Sequence[Architecture | Graph | str]
    ) -> NDArray[np.bool_] | None:
        """Whether architectures are like those that the predictor was fitted to, shape `(n,)`.

        None for a predictor that does not tell.

        Raises:
            InputError: If a text is malformed.
        """
        if not isinstance(self.model, TellsFamiliar):
            return None
        return self.model.familiar(self.graphs(architectures))

    def familiar_codes(self, codes: NDArray[np.uint32]) -> NDArray[np.bool_] | None:
        """Compute `familiar` for members of a space of numbers; None as in `predict_codes`."""
        if not self._reads_arrays:
            return None
        parts = [self.model.familiar_arrays(self._arrays(part)) for part in _parts(codes)]
        return np.concatenate(parts)

    @property
    def _reads_arrays(self) -> bool:
        is_coded = isinstance(self.space, CodedSpace) and self.space.has_arrays
        return is_coded and isinstance(self.model, ReadsArrays)

    def _arrays(self, codes: NDArray[np.uint32]) -> Any:
        space: Any = self.space
        return space.arrays(space.normal_codes(codes) if self._of_functions else codes)

    def save(self, path: str | Path, **about: Any) -> None:
        """Write `<path>.safetensors`, which `load_predictor(path)` reads.

        The description, training, quality and provenance of an earlier file are kept.
        """
        from nasplug.predictors.checkpoint import base_path

        base = base_path(path)
        earlier_about = {key: self.card[key] for key in _ABOUT if key in self.card}
        self.model.save(
            base, {"name": base.name, "space": self.space.name, **earlier_about, **about}
        )


def check_labels(values: ArrayLike) -> None:
    """Check that measured values are of a size that can be learned.

    Raises:
        InputError: If a value is too small or too large; NaN stands for an unknown value.
    """
    sizes = np.abs(np.asarray(values, dtype=np.float64))
    wrong = sizes[(sizes > MOST) | ((sizes < LEAST) & (sizes > 0))]
    if len(wrong):
        raise InputError(
            f"{wrong[0]:g} is not a value in % or ms; its size must be 0, or from {LEAST:g} to "
            f"{MOST:g}"
        )


def _parts(codes: NDArray[np.uint32]) -> list[NDArray[np.uint32]]:
    """Split codes into parts whose arrays stay small; at least one part."""
    return [codes[start : start + CODES] for start in range(0, max(len(codes), 1), CODES)]
