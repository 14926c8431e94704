"""A user's own device: its description, and the few networks that were measured on it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.features.graph_arrays import pack, unpack
from nasplug.predictors.features.nodes import vocabulary_of
from nasplug.predictors.hardware import Hardware, hardware_data
from nasplug.search_spaces import Graph, InputError

__all__ = ["DeviceProfile", "MeasuredNetworks"]

# Arrays of `graph_arrays.pack` -> their dimensions; all but the attributes are whole numbers.
_DIMENSIONS = {
    "sizes": 1,
    "edge_counts": 1,
    "ops": 1,
    "attribute_rows": 1,
    "edges": 2,
    "attributes": 2,
}


@dataclass(frozen=True, eq=False)
class MeasuredNetworks:
    """Networks that were measured on one device at one batch size.

    Attributes:
        archs: Their texts, length n.
        latencies: In ms, shape `(n,)`, positive.
        graphs: As predictors read them, length n.
    """

    archs: tuple[str, ...]
    latencies: NDArray[np.float64]
    graphs: tuple[Graph, ...]

    def to_json(self) -> dict[str, Any]:
        """A dictionary for `json.dumps`, from which `from_json` makes an equal object."""
        vocabulary = vocabulary_of(self.graphs)
        arrays = pack(self.graphs, vocabulary)
        return {
            "arch": list(self.archs),
            "latency_ms": self.latencies.tolist(),
            "vocabulary": list(vocabulary),
            "graphs": {name: array.tolist() for name, array in arrays.items()},
        }

    @classmethod
    def from_json(cls, table: Any) -> MeasuredNetworks:
        """The networks that `to_json` wrote; nothing in the table is trusted.

        Raises:
            InputError: If something is missing, or is not what `to_json` writes.
        """
        try:
            archs, vocabulary = table["arch"], table["vocabulary"]
            latencies = _array(table["latency_ms"], "latency_ms", 1, whole=False)
            arrays = {
                name: _array(table["graphs"][name], name, dimensions, whole=name != "attributes")
                for name, dimensions in _DIMENSIONS.items()
            }
        except (KeyError, TypeError, IndexError) as error:
            raise InputError(f"the measured networks lack {error}") from None
        for name, texts in (("arch", archs), ("vocabulary", vocabulary)):
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise InputError(f"{name} of the measured networks is not a list of strings")
        limits = {"ops": len(vocabulary), "attribute_rows": len(arrays["attributes"])}
        for name in ("sizes", "edge_counts", "ops", "attribute_rows", "edges"):
            values = arrays[name]
            if values.size and not 0 <= values.min() <= values.max() < limits.get(name, 1 << 31):
                raise InputError(f"{name} of the measured networks is out of range")
        if arrays["edges"].shape[0] != 2:
            raise InputError("edges of the measured networks are not pairs")
        graphs = unpack(arrays, tuple(vocabulary))
        if not len(archs) == len(latencies) == len(graphs) > 0:
            raise InputError(
                f"there are {len(archs)} measured architectures, {len(latencies)} latencies and "
                f"{len(graphs)} graphs"
            )
        if not (latencies > 0).all() or not all(map(len, graphs)):
            raise InputError("a measured latency is not positive, or a network is empty")
        return cls(tuple(archs), latencies, tuple(graphs))


@dataclass(frozen=True, init=False)
class DeviceProfile(Hardware):
    """A device that is known by its description and by a few measurements.

    Attributes:
        space: Name of the space of the measured networks.
        batch_size: Images a forward pass, in the measurements.
        sha256: Digest of all that a prediction depends on.
    """

    space: str = ""
    batch_size: int = 1
    sha256: str = ""

    def __init__(
        self, hardware: Hardware, space: str, batch_size: int, measured: MeasuredNetworks
    ) -> None:
        content: dict[str, Any] = {f.name: getattr(hardware, f.name) for f in fields(Hardware)}
        content |= {"space": space, "batch_size": batch_size}
        # What was measured is no field: fields are what describes a device, and are shown.
        for name, value in {**content, "_measured": measured}.items():
            object.__setattr__(self, name, value)
        described = hardware_data(hardware) | {"space": space, "batch_size": batch_size}
        object.__setattr__(self, "sha256", _digest(described, measured))

    @property
    def measured(self) -> MeasuredNetworks:
        """The measurements."""
        measured: MeasuredNetworks = self.__dict__["_measured"]
        return measured

    def to_json(self) -> dict[str, Any]:
        """A dictionary for `json.dumps`: `hardware`, `space`, `batch_size`, `measured`."""
        hardware = hardware_data(self)
        if not self.year:
            # Zero is no year: it stands for one that was left out.
            del hardware["year"]
        return {
            "hardware": hardware,
            "space": self.space,
            "batch_size": self.batch_size,
            "measured": self.measured.to_json(),
        }


def _array(value: Any, name: str, dimensions: int, *, whole: bool) -> NDArray[Any]:
    """Nested lists of numbers as an array."""
    try:
        array = np.array(value)
    except ValueError:  # rows of different lengths, or nested too deeply
        array = np.array(None)
    kinds = "i" if whole else "if"
    fits = array.ndim == dimensions and (array.dtype.kind in kinds or not array.size)
    if not fits or (array.dtype.kind == "f" and not np.isfinite(array).all()):
        kind = "whole" if whole else "finite"
        raise InputError(f"{name} of the measured networks is not a list of {kind} numbers")
    return array.astype(np.int64 if whole else np.float64)


def _digest(content: Mapping[str, Any], measured: MeasuredNetworks) -> str:
    used = {k: v for k, v in content.items() if k not in ("aliases", "source", "note")}
    used |= {"measured": measured.to_json()}
    return hashlib.sha256(json.dumps(used, sort_keys=True).encode()).hexdigest()
