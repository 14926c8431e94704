"""Trained predictors that come with the package, and predictors of architectures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import as_file, files
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasplug._hardware import hardware as find_hardware
from nasplug.search_spaces import Architecture, Graph, InputError, SearchSpace
from nasplug.search_spaces import space as find_space
from nasplug.search_spaces.errors import closest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nasplug.predictors import Hardware, Prediction
    from nasplug.predictors.pretraining import Encoder

__all__ = [
    "ArchitecturePredictor",
    "create_predictor",
    "load_predictor",
    "names",
    "predictors_for",
]

KINDS = ("accuracy", "latency")
# Reads the networks of every space of whole networks.
NETWORK_LATENCY = "network-latency"
# An encoder's name is its space's with this; it predicts nothing by itself.
_ENCODER = "-encoder"


class ArchitecturePredictor:
    """A predictor that takes architectures of one space.

    Attributes:
        name: Name in the zoo, or of the file it came from.
        space: The space whose architectures it reads.
        card: What the trainer wrote about data, training and quality; empty for a new predictor.
        runtime: How networks are run whose latency is predicted, if that was chosen.
    """

    def __init__(
        self,
        name: str,
        space: SearchSpace,
        model: Any,
        card: dict[str, Any] | None = None,
        runtime: str | None = None,
    ) -> None:
        self.name = name
        self.space = space
        self.card = card or {}
        self.runtime = runtime
        self._model = model
        # Devices that were learned from their profiles.
        self._calibrated: dict[str, Any] = {}

    def for_space(self, space: SearchSpace) -> ArchitecturePredictor:
        """This predictor for architectures of a space.

        A predictor of whole networks reads any space of whole networks; any other one its own.

        Raises:
            InputError: If it cannot read them.
        """
        if space.name == self.space.name:
            return self
        if getattr(self._model, "whole_networks", False) and space.has_networks:
            return ArchitecturePredictor(self.name, space, self._model, self.card, self.runtime)
        raise InputError(
            f"predictor {self.name!r} is for space {self.space.name}, not for {space.name}"
        )

    def with_runtime(self, runtime: str) -> ArchitecturePredictor:
        """This latency predictor for networks that are run in one of `settings.RUNTIMES`.

        Raises:
            InputError: If the runtime is unknown, or the predictor knows one way of running only.
        """
        if not getattr(self._model, "whole_networks", False) or self.kind != "latency":
            raise InputError(
                f"predictor {self.name!r} knows one way of running networks; "
                f"{NETWORK_LATENCY!r}, which reads whole networks, lets you choose a runtime"
            )
        from nasplug.predictors.settings import parse_runtime

        parse_runtime(runtime)
        return ArchitecturePredictor(self.name, self.space, self._model, self.card, runtime)

    def runtime_on(self, hardware: Hardware) -> str | None:
        """How networks are run on a device, if that is chosen or follows from the space.

        Networks of a space of ONNX files are run by TensorRT on a GPU of NVIDIA's.
        """
        from nasplug.predictors.device_profile import DeviceProfile
        from nasplug.predictors.settings import inference_runtime

        # A calibrated device speaks for the runtime that it was measured in.
        if self.runtime is not None or isinstance(hardware, DeviceProfile):
            return self.runtime
        knows_runtimes = hasattr(self._model, "setting")
        return inference_runtime(hardware) if self.space.deployed and knows_runtimes else None

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the predicted columns."""
        targets: tuple[str, ...] = self._model.targets
        return targets

    @property
    def kind(self) -> str:
        """What is predicted: `"accuracy"` or `"latency"`."""
        is_latency = getattr(self._model, "kind", None) == "latency" or self.targets == ("latency",)
        return "latency" if is_latency else "accuracy"

    @property
    def sha256(self) -> str | None:
        """SHA-256 of the weights, or None for a predictor that was not loaded."""
        return self.card.get("sha256")

    @property
    def model(self) -> Any:
        """The predictor of graphs behind this one (see `nasplug.predictors`)."""
        return self._model

    def graphs(self, architectures: Sequence[Architecture | Graph | str]) -> list[Graph]:
        """The graphs of architectures; texts are parsed, graphs are passed on.

        Raises:
            InputError: If a text is malformed, or a graph is that of a cell, not of its network.
        """
        whole = getattr(self._model, "whole_networks", False)
        make = self.space.to_network if whole else self.space.to_graph
        found = []
        for item in architectures:
            if isinstance(item, Graph):
                # The sum over a cell's nodes would look like a latency.
                if whole and not self.space.whole_networks and item.ops[-1:] != ("Output",):
                    raise InputError(
                        f"predictor {self.name!r} reads whole networks, and a graph is a cell of "
                        f"{self.space.name}; give the architecture, or its to_network"
                    )
                found.append(item)
            else:
                arch = self.space.parse(item) if isinstance(item, str) else item
                found.append(make(arch))
        return found

    def fit(
        self,
        architectures: Sequence[Architecture | Graph | str],
        targets: NDArray[np.float64],
        hardware: Sequence[Any] | None = None,
        **options: Any,
    ) -> None:
        """Learn from measured architectures, in random order, forgetting what was learned before.

        Args:
            architectures: Of this predictor's space, at least 40.
            targets: Their values in units, shape `(n,)` or `(n, targets)`; for a latency
                `(n, devices)` in ms.
            hardware: For a latency the devices of the columns, as `DeviceBatch`.
            **options: See `AccuracyPredictor.fit` and `LatencyPredictor.fit`.

        Raises:
            InputError: If shapes do not fit or there are too few architectures.
        """
        self._model.fit(self.graphs(architectures), targets, hardware, **options)
        self.card = {}

    def predict(
        self,
        architectures: Sequence[Architecture | Graph | str],
        hardware: str | PathLike[str] | Hardware | None = None,
        batch_size: int = 1,
    ) -> Prediction:
        """Predict architectures.

        Args:
            architectures: Of this predictor's space: architectures, their texts, or graphs.
            hardware: A device, its name or the path of its file, if a latency is predicted. One
                that was calibrated is predicted from its own measurements.
            batch_size: Images a forward pass, for a latency.

        Returns:
            A row an architecture, a column a target.

        Raises:
            InputError: If a text is malformed, or the device is missing or unknown, or was
                calibrated at another batch size or on other networks.
        """
        from nasplug.predictors.device_profile import DeviceProfile

        device = None if hardware is None else find_hardware(hardware)
        graphs = self.graphs(architectures)
        if isinstance(device, DeviceProfile) and self.kind == "latency":
            from nasplug._few_shot import predict_few_shot

            if self.runtime is not None:
                raise InputError(
                    f"{device.name} is known by its own measurements, in the runtime that they "
                    "were taken in; leave the runtime out"
                )
            return predict_few_shot(self, device, graphs, batch_size, self._calibrated)
        runtime = None if device is None else self.runtime_on(device)
        chosen = {} if runtime is None else {"runtime": runtime}
        result: Prediction = self._model.predict(graphs, device, batch_size, **chosen)
        return result

    def save(self, path: str | Path, **about: Any) -> None:
        """Write `<path>.safetensors` and `<path>.json`; `load_predictor(path)` reads them."""
        self._model.save(path, {"name": Path(path).name, "space": self.space.name, **about})


def names() -> list[str]:
    """Names of the trained predictors in the package."""
    return sorted(
        file.name.removesuffix(".json")
        for file in files("nasplug.zoo").iterdir()
        if file.name.endswith(".json") and not file.name.endswith(f"{_ENCODER}.json")
    )


def load_predictor(name: str | PathLike[str], backend: str = "auto") -> ArchitecturePredictor:
    """Load a trained predictor.

    Args:
        name: A name of the zoo, such as `"nb201-accuracy"`, or the path of a checkpoint (with a
            slash or the suffix `.safetensors` or `.json`).
        backend: `"torch"`, `"dgl"`, or `"auto"` for the faster one that is installed.

    Raises:
        InputError: If there is no such predictor, or the file is damaged or not one of ours.
    """
    text = str(name)
    if "/" in text or text.endswith((".safetensors", ".json")):
        return _open(Path(text), backend)
    if text not in names():
        raise InputError(
            f"unknown predictor {text!r}; the package has {closest(text, names())}; "
            "for a file of your own give its path"
        )
    return _load_from_zoo(text, backend)


@cache
def _load_from_zoo(name: str, backend: str) -> ArchitecturePredictor:
    folder = files("nasplug.zoo")
    with (
        as_file(folder / f"{name}.json") as card,
        # Both files have to be on disk at once if the package is inside an archive.
        as_file(folder / f"{name}.safetensors"),
    ):
        return _open(card, backend)


def _open(path: Path, backend: str) -> ArchitecturePredictor:
    from nasplug.predictors.checkpoint import load_checkpoint
    from nasplug.predictors.registry import restore

    checkpoint = load_checkpoint(path)
    card = checkpoint.card
    if not isinstance(card.get("space"), str):
        raise InputError(f"the card of {path} does not say which search space it is for")
    space = find_space(card["space"])
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
        found = [q for q in quantities if q in own or _zoo_name(space, q) in names()]
        quantities = found or quantities
    return {
        q: own.get(q) or load_predictor(_zoo_name(space, q)).for_space(space) for q in quantities
    }


def in_runtime(chosen: dict[str, ArchitecturePredictor], runtime: str) -> None:
    """Make the latency predictor among the chosen ones one of networks run in a runtime.

    Raises:
        InputError: If there is none, or as `ArchitecturePredictor.with_runtime`.
    """
    if "latency" not in chosen:
        raise InputError(f"the runtime {runtime} is one of a latency; name a device")
    chosen["latency"] = chosen["latency"].with_runtime(runtime)


def _zoo_name(space: SearchSpace, quantity: str) -> str:
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
    """
    if kind not in KINDS:
        raise InputError(f"unknown kind of predictor {kind!r}; there are {', '.join(KINDS)}")
    where = find_space(space) if isinstance(space, str) else space
    model: Any
    if kind == "accuracy":
        from nasplug.predictors.transformer_gp import transformer_gp

        if "encoder" not in config:
            config["encoder"] = _encoder_of(where.name, backend)
        model = transformer_gp(backend=backend, **config)
    else:
        from nasplug.predictors.latency import LatencyConfig, LatencyPredictor

        try:
            model = LatencyPredictor(LatencyConfig(**config), backend)
        except TypeError as error:
            raise InputError(f"{error}; see LatencyConfig for the fields") from None
    return ArchitecturePredictor(f"new {kind} predictor", where, model)


@cache
def _encoder_of(space: str, backend: str) -> Encoder | None:
    """The encoder in the package that was pretrained on a space, if there is one."""
    from nasplug.predictors.pretraining import Encoder

    name = f"{space}{_ENCODER}"
    folder = files("nasplug.zoo")
    if not (folder / f"{name}.json").is_file():
        return None
    with as_file(folder / f"{name}.json") as card, as_file(folder / f"{name}.safetensors"):
        return Encoder.load(card, backend)
