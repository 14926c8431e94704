"""Evaluation by a benchmark's table: measured values take the place of a training run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nasplug.objectives import OBJECTIVES
from nasplug.quantities import QUANTITIES, without_device
from nasplug.search_spaces import Architecture, FiniteSpace, Graph, InputError, Part, SearchSpace
from nasplug.studies.evaluation import (
    ACCURACY,
    ALLOCATED,
    ENERGY,
    LATENCY,
    PERPLEXITY,
    THROUGHPUT,
    Request,
    TrialFailure,
)

if TYPE_CHECKING:
    import pandas as pd
    from optuna.distributions import BaseDistribution

    from nasplug.predictors.hardware import Hardware

__all__ = ["Members", "Table", "open_table"]

_ARCH = "arch"
# Metrics that tables have.
_METRICS = (ACCURACY, LATENCY, THROUGHPUT, PERPLEXITY, ENERGY, ALLOCATED)
# Metric -> quantity that the registry of data sets has.
_QUANTITIES = {kind.key: kind.name for kind in QUANTITIES.values()} | {ALLOCATED: "memory"}
_LANGUAGE_MODELS = ("gpt-l", "gpt-m", "gpt-s")


@dataclass(frozen=True, eq=False)
class Table:
    """Evaluation that looks metrics up in a benchmark's tables.

    Attributes:
        columns: Name of a metric to the data set and column that it is read from.
        values: Name of a metric to the text of an architecture to its value; `"accuracy"` in %,
            `"latency_ms"` in ms, `"throughput"` in images a second, `"perplexity"`, `"energy_j"`
            in joules and `"allocated_mb"` in MB.
    """

    columns: Mapping[str, str]
    values: Mapping[str, Mapping[str, float]]
    name: str = "table"

    @property
    def identity(self) -> str:
        """Text that names the columns."""
        return ", ".join(self.columns.values())

    def __call__(self, request: Request) -> Mapping[str, Any]:
        """Look one architecture up.

        Raises:
            TrialFailure: If it is not in the table.
        """
        metrics = {name: column.get(request.arch.text) for name, column in self.values.items()}
        if None in metrics.values():
            raise TrialFailure(f"{request.arch.text} is not in {self.identity}")
        return metrics

    def way_on(self, hardware: Hardware) -> str | None:
        """The way in which a device ran the table's networks; None for the usual one."""
        if not any(column.startswith(_LANGUAGE_MODELS) for column in self.columns.values()):
            return None
        from nasplug.predictors.latency.network_energy import measured_way

        return measured_way(hardware).text

    def stop(self) -> None:
        """Do nothing: a look-up ends at once."""


def open_table(
    space: SearchSpace,
    dataset: str,
    hardware: Hardware | Sequence[Hardware] | None,
    batch_size: int,
    metrics: Sequence[str],
) -> tuple[Table, SearchSpace]:
    """Open the tables of some metrics, and find the architectures of a space in all of them.

    Args:
        space: The space.
        dataset: Image set of the accuracy: its validation accuracy, or its test accuracy if the
            table has no other.
        hardware: Device of the latency, throughput and energy, or several.
        batch_size: Images a forward pass, for the latency.
        metrics: Some of `"accuracy"`, `"latency_ms"`, `"throughput"`, `"perplexity"`, `"energy_j"`
            and `"allocated_mb"`; of several devices as `"latency_ms@RTX 3090"`.

    Returns:
        The table, and the space or, if the tables lack some of it, a space of the others.

    Raises:
        InputError: If a metric is in no table, or a table cannot be loaded.
    """
    wanted: dict[str, tuple[str, ...]] = {
        ACCURACY: (f"{dataset}_val", f"{dataset}_test"),
        PERPLEXITY: ("perplexity",),
        ALLOCATED: ("allocated_mb",),
    }
    devices = () if hardware is None else hardware
    devices = devices if isinstance(devices, Sequence) else (devices,)
    for device in devices:
        on = f"@{device.name}" if len(devices) > 1 else ""
        wanted[ENERGY + on] = (f"{device.name}@{batch_size} J",)
        wanted[LATENCY + on] = (f"{device.name}@{batch_size}",)
        wanted[THROUGHPUT + on] = (f"{device.name} img/s",)
    columns, values = {}, {}
    for metric in metrics:
        if without_device(metric) not in _METRICS:
            raise InputError(
                f"no table has {metric}; tables have {', '.join(_METRICS)}, and nasplug counts "
                "flops and params"
            )
        if metric not in wanted:
            raise InputError(f"a measured {_QUANTITIES[metric]} needs a device; name one with --hw")
        columns[metric], values[metric] = _column(space, metric, wanted[metric])
        is_of_model = columns[metric].startswith(_LANGUAGE_MODELS)
        if dataset == "decode" and is_of_model and metric != PERPLEXITY:
            raise InputError(
                f"the {_QUANTITIES[without_device(metric)]} of the table is that of whole prompts, "
                "and not of decode steps; leave decode out"
            )
    if not values:
        raise InputError(
            f"no objective comes from a table; make {space.quality} or latency_ms an objective"
        )
    common = set.intersection(*(set(column) for column in values.values()))
    if isinstance(space, Members):
        common &= {arch.text for arch in space}
    elif isinstance(space, Part):
        common = {text for text in common if space.has(text)}
    if isinstance(space, FiniteSpace) and len(common) == len(space):
        return Table(columns, values), space
    if not common:
        raise InputError(f"no architecture of {space.name} has all of {', '.join(metrics)}")
    first = next(iter(values.values()))
    members = [space.parse(text) for text in first if text in common]
    return Table(columns, values), Members(space, members)


def _column(space: SearchSpace, metric: str, wanted: Sequence[str]) -> tuple[str, dict[str, float]]:
    """Find a metric of a space: data set and column, and finite values by architecture text."""
    from nasplug import datasets

    metric = without_device(metric)
    quantity = _QUANTITIES[metric]
    alternatives = ""
    for name in datasets.tables_of(space.name, quantity):
        table = datasets.longest_trained(datasets.load(name))
        for column in wanted:
            if column in table.columns:
                return f"{name} {column}", _values(space, table, column)
        if metric == LATENCY:
            alternatives = _measured_devices(table.columns, wanted[0], space.quality)
    device = f" on {wanted[0]}" if QUANTITIES[quantity].needs_device else ""
    device = device.replace("@", " at batch ").removesuffix(" img/s").removesuffix(" J")
    alternatives = alternatives or f"; these tables have it: {', '.join(_with_tables(quantity))}"
    raise InputError(f"no table has the {quantity} of {space.name}{device}{alternatives}")


def _measured_devices(columns: Iterable[str], wanted: str, quality: str) -> str:
    """Name measured alternatives: devices at this batch size, or this device at other sizes."""
    device, _, size = wanted.rpartition("@")
    parts = (column.rpartition("@") for column in columns)
    measured = sorted(part for part in parts if part[1] and part[2].isdecimal())
    sizes = [batch for name, _, batch in measured if name == device]
    names = [name for name, _, batch in measured if batch == size]
    if not measured:
        return ""
    alternative = f"at batch {size} there are measurements on {', '.join(names)}"
    if sizes:
        alternative = f"the device was measured at batch {', '.join(sorted(sizes, key=int))}"
    best = f"{quality}:{'max' if OBJECTIVES[quality].sign < 0 else 'min'}"
    return f"; {alternative}; or optimise {quality} alone, with --objective {best}"


def _with_tables(quantity: str) -> list[str]:
    """Names of the spaces of which a table has a quantity."""
    from nasplug import datasets

    tables = {
        "accuracy": ("accel", "macro", "nb101-small", "nb201-accuracy"),
        "latency": ("accel", "fbnet-latency", *_LANGUAGE_MODELS, "nb201-latency", "ofa-latency"),
        "throughput": ("accel",),
        **dict.fromkeys(("perplexity", "energy", "memory"), _LANGUAGE_MODELS),
    }
    return [str(datasets.info(name).space) for name in tables[quantity]]


def _values(space: SearchSpace, table: pd.DataFrame, column: str) -> dict[str, float]:
    """Finite values of a column by the text of an architecture."""
    numbers = table[column].to_numpy(np.float64)
    if _ARCH in table.columns:
        whole = space.whole if isinstance(space, Part) else space
        texts = _canonical_texts(whole, tuple(table[_ARCH]))
    else:
        # The rows of a table without texts are in the order of its space.
        whole = space.space if isinstance(space, Members) else space
        whole = whole.whole if isinstance(whole, Part) else whole
        assert isinstance(whole, FiniteSpace)
        assert len(whole) == len(table)
        texts = [arch.text for arch in whole]
    finite = np.isfinite(numbers)
    return {text: float(numbers[k]) for k, text in enumerate(texts) if finite[k]}


@lru_cache(maxsize=2)
def _canonical_texts(space: SearchSpace, texts: tuple[str, ...]) -> list[str]:
    """Texts of architectures in their canonical form; the metrics of a table share its rows."""
    return [space.parse(text).text for text in texts]


class Members(FiniteSpace):
    """Space of some architectures of another space, at least one, in a fixed order."""

    def __init__(self, space: SearchSpace, archs: Sequence[Architecture]) -> None:
        self.space = space
        self.name, self.quality = space.name, space.quality
        self.whole_networks = space.whole_networks
        self.deployed = space.deployed
        self._archs = list(archs)
        self._positions = {arch.text: k for k, arch in enumerate(self._archs)}

    def __len__(self) -> int:
        return len(self._archs)

    def __iter__(self) -> Iterator[Architecture]:
        return iter(self._archs)

    def index(self, arch: Architecture) -> int:
        """Position of a member in the order."""
        self.validate(arch)
        return self._positions[arch.text]

    def distributions(self) -> dict[str, BaseDistribution]:
        """Distributions of the whole space."""
        return self.space.distributions()

    def from_params(self, params: Mapping[str, Any]) -> Architecture:
        """Architecture of a trial's parameters, member or not."""
        return self.space.from_params(params)

    def to_params(self, arch: Architecture) -> dict[str, Any]:
        """Parameters of an architecture."""
        return self.space.to_params(arch)

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw a member uniformly."""
        return self._archs[int(rng.integers(len(self._archs)))]

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """Draw a neighbour that is a member, or any member if there is none."""
        neighbors = self.neighbors(arch)
        if not neighbors:
            return self.sample(rng)
        return neighbors[int(rng.integers(len(neighbors)))]

    def neighbors(self, arch: Architecture) -> list[Architecture]:
        """Neighbours that are members."""
        return [near for near in self.space.neighbors(arch) if near.text in self._positions]

    def validate(self, arch: Architecture) -> None:
        """Check that an architecture is a member."""
        if arch.text not in self._positions:
            raise InputError(
                f"{arch.text} is not one of the {len(self)} architectures of {self.name}"
            )

    def parse(self, text: str) -> Architecture:
        """Read an architecture's text, a member or not."""
        return self.space.parse(text)

    def to_graph(self, arch: Architecture, task: str | None = None) -> Graph:
        """Graph of the architecture in the whole space."""
        return self.space.to_graph(arch, task)

    @property
    def has_networks(self) -> bool:
        """Whether the whole space has networks."""
        return self.space.has_networks

    def to_network(self, arch: Architecture, task: str | None = None) -> Graph:
        """Network of the architecture in the whole space."""
        return self.space.to_network(arch, task)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Image sets of the whole space."""
        return self.space.tasks

    def to_graphs(self, archs: Sequence[Architecture], task: str | None = None) -> list[Graph]:
        """Graphs of architectures in the whole space."""
        return self.space.to_graphs(archs, task)

    def summands(
        self, archs: Sequence[Architecture], task: str | None = None
    ) -> tuple[list[Graph], NDArray[np.float64]] | None:
        """Graphs and their numbers in the whole space; see `SearchSpace.summands`."""
        return self.space.summands(archs, task)
