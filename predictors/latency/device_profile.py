"""A user's own device: its description, and the few networks that were measured on it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.features.graph_arrays import pack, unpack
from nasplug.predictors.features.nodes import vocabulary_of
from nasplug.predictors.features.runtimes import Way, parse_way
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.hardware import Hardware, as_data
from nasplug.search_spaces import Graph, InputError

__all__ = ["DeviceProfile", "MeasuredNetworks", "Run"]

# Arrays of `graph_arrays.pack` -> their dimensions; all but the attributes are whole numbers.
_DIMENSIONS = {
    "sizes": 1,
    "edge_counts": 1,
    "ops": 1,
    "attribute_rows": 1,
    "edges": 2,
    "attributes": 2,
}


class Run(NamedTuple):
    """Batch size and way in which a network was run."""

    batch_size: int = 1
    way: Way = Way()


@dataclass(frozen=True, eq=False)
class MeasuredNetworks:
    """Networks that were measured on one device.

    Attributes:
        archs: Their texts, length n.
        latencies: In ms, shape `(n,)`, positive.
        graphs: As predictors read them, length n.
        runs: Batch size and way of each, length n; empty if all were run at the profile's batch
            size, in a way that is not told.
    """

    archs: tuple[str, ...]
    latencies: NDArray[np.float64]
    graphs: tuple[Graph, ...]
    runs: tuple[Run, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A dictionary for `json.dumps`, from which `from_json` makes an equal object."""
        vocabulary = vocabulary_of(self.graphs)
        arrays = pack(self.graphs, vocabulary)
        runs = {
            "batch_size": [run.batch_size for run in self.runs],
            "way": [run.way.text for run in self.runs],
        }
        return {
            "arch": list(self.archs),
            "latency_ms": self.latencies.tolist(),
            **(runs if self.runs else {}),
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
        return cls(tuple(archs), latencies, tuple(graphs), _runs(table, len(archs)))


@dataclass(frozen=True, init=False)
class DeviceProfile(Hardware):
    """A device that is known by its description and by a few measurements.

    Attributes:
        space: Name of the space of the measured networks.
        batch_size: Images a forward pass, in most of the measurements.
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
        described = as_data(hardware) | {"space": space, "batch_size": batch_size}
        object.__setattr__(self, "sha256", _digest(described, measured))

    @property
    def measured(self) -> MeasuredNetworks:
        """The measurements."""
        measured: MeasuredNetworks = self.__dict__["_measured"]
        return measured

    @cached_property
    def hardware(self) -> Hardware:
        """The description of the device alone."""
        return Hardware(**{field.name: getattr(self, field.name) for field in fields(Hardware)})

    @property
    def settings(self) -> list[Setting]:
        """Setting of each measurement."""
        runs = self.measured.runs or (Run(self.batch_size),) * len(self.measured.archs)
        return [Setting.of(self.hardware, run.batch_size, run.way) for run in runs]

    @property
    def usual_way(self) -> Way:
        """Way in which most of the networks were run."""
        ways = Counter(run.way for run in self.measured.runs)
        return ways.most_common(1)[0][0] if ways else Way()

    def to_json(self) -> dict[str, Any]:
        """A dictionary for `json.dumps`: `hardware`, `space`, `batch_size`, `measured`."""
        hardware = as_data(self)
        if not self.year:
            # Zero is no year: it stands for one that was left out.
            del hardware["year"]
        return {
            "hardware": hardware,
            "space": self.space,
            "batch_size": self.batch_size,
            "measured": self.measured.to_json(),
        }


def _runs(table: Mapping[str, Any], count: int) -> tuple[Run, ...]:
    """Runs of a stored table; none in one of earlier versions."""
    if "way" not in table and "batch_size" not in table:
        return ()
    ways, sizes = table.get("way"), table.get("batch_size")
    if not (isinstance(ways, list) and isinstance(sizes, list)):
        raise InputError("the measured networks lack a list of ways or of batch sizes")
    are_texts = all(isinstance(way, str) for way in ways)
    if not are_texts or not all(type(size) is int and size >= 1 for size in sizes):
        raise InputError("a way of the measured networks is no text, or a batch size no number")
    if not len(ways) == len(sizes) == count:
        raise InputError(f"there are {len(ways)} ways and {len(sizes)} batch sizes for {count}")
    return tuple(Run(size, parse_way(way)) for size, way in zip(sizes, ways, strict=True))


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
