"""Evaluation by a benchmark's table: what was measured stands in for a training run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nasplug.search_spaces import Architecture, FiniteSpace, Graph, InputError, SearchSpace
from nasplug.studies.evaluation import ACCURACY, LATENCY, THROUGHPUT, Request, TrialFailure

if TYPE_CHECKING:
    import pandas as pd
    from optuna.distributions import BaseDistribution

    from nasplug.predictors.hardware import Hardware

__all__ = ["Members", "Table", "open_table"]

_ARCH = "arch"
_SAID = {ACCURACY: "accuracy", LATENCY: "latency", THROUGHPUT: "throughput"}


@dataclass(frozen=True, eq=False)
class Table:
    """Looks metrics up in what a benchmark measured.

    Attributes:
        columns: Name of a metric to the data set and column it is read from.
        values: Name of a metric to the text of an architecture to its value; `"accuracy"` in %,
            `"latency_ms"` in ms, `"throughput"` in images a second.
    """

    columns: Mapping[str, str]
    values: Mapping[str, Mapping[str, float]]
    name: str = "table"

    @property
    def identity(self) -> str:
        """The columns that are read."""
        return ", ".join(self.columns.values())

    def __call__(self, request: Request) -> Mapping[str, Any]:
        """What was measured of one architecture.

        Raises:
            TrialFailure: If it is not in the table.
        """
        found = {name: known.get(request.arch.text) for name, known in self.values.items()}
        if None in found.values():
            raise TrialFailure(f"{request.arch.text} is not in {self.identity}")
        return found

    def stop(self) -> None:
        """Nothing: a look-up is over at once."""


def open_table(
    space: SearchSpace,
    dataset: str,
    hardware: Hardware | None,
    batch_size: int,
    metrics: Sequence[str],
) -> tuple[Table, SearchSpace]:
    """The tables of some metrics, and the architectures of a space that are in all of them.

    Args:
        space: The space.
        dataset: Image set of the accuracy: validation accuracy, or test accuracy without one.
        hardware: Device of the latency.
        batch_size: Images a forward pass, for the latency.
        metrics: Some of `"accuracy"`, `"latency_ms"` and `"throughput"`.

    Returns:
        The table, and the space: itself if the tables have all of it, else those of its members.

    Raises:
        InputError: If a metric is in no table, or a table cannot be had.
    """
    wanted: dict[str, tuple[str, ...]] = {ACCURACY: (f"{dataset}_val", f"{dataset}_test")}
    if hardware is not None:
        wanted[LATENCY] = (f"{hardware.name}@{batch_size}",)
        wanted[THROUGHPUT] = (f"{hardware.name} img/s",)
    columns, values = {}, {}
    for metric in metrics:
        if metric not in _SAID:
            raise InputError(
                f"there is no table of {metric}; tables have accuracy, latency_ms and throughput, "
                "and flops and params are counted"
            )
        if metric not in wanted:
            raise InputError(f"measured {_SAID[metric]} needs hardware; name a device with --hw")
        columns[metric], values[metric] = _column(space, metric, wanted[metric], hardware)
    if not values:
        raise InputError(
            "nothing is looked up in a table; make accuracy or latency_ms an objective"
        )
    common = set.intersection(*(set(known) for known in values.values()))
    if isinstance(space, Members):
        common &= {arch.text for arch in space}
    if isinstance(space, FiniteSpace) and len(common) == len(space):
        return Table(columns, values), space
    if not common:
        raise InputError(f"no architecture of {space.name} has all of {', '.join(metrics)}")
    first = next(iter(values.values()))
    members = [space.parse(text) for text in first if text in common]
    return Table(columns, values), Members(space, members)


def _column(
    space: SearchSpace, metric: str, wanted: Sequence[str], hardware: Hardware | None
) -> tuple[str, dict[str, float]]:
    """Where a metric of a space stands, and its finite values by the text of an architecture."""
    from nasplug import datasets

    what = _SAID[metric]
    missing = ""
    for name in datasets.tables_of(space.name, what):
        table = datasets.longest_trained(datasets.load(name))
        for column in wanted:
            if column in table.columns:
                return f"{name} {column}", _values(space, table, column)
        if metric == LATENCY:
            missing = _measured_devices(table.columns, wanted[0])
    on = "" if hardware is None or metric == ACCURACY else f" on {wanted[0]}"
    on = on.replace("@", " at batch ").removesuffix(" img/s")
    every = f"; tables of it: {', '.join(_with_tables(what))}"
    raise InputError(f"no table has the {what} of {space.name}{on}{missing or every}")


def _measured_devices(columns: Iterable[str], wanted: str) -> str:
    """What could be asked for instead: devices at this batch size, or this device at others."""
    device, _, size = wanted.rpartition("@")
    known = sorted(column.rpartition("@") for column in columns if "@" in column)
    sizes = [of for name, _, of in known if name == device]
    names = [name for name, _, of in known if of == size]
    if not known:
        return ""
    there = f"measured at batch {size} were {', '.join(names)}"
    if sizes:
        there = f"it was measured at batch {', '.join(sorted(sizes, key=int))}"
    return f"; {there}; or leave latency to a limit, with --objective accuracy:max"


def _with_tables(what: str) -> list[str]:
    """Spaces whose accuracy, latency or throughput is in a table."""
    from nasplug import datasets

    known = {
        "accuracy": ("accel", "macro", "nb101-small", "nb201-accuracy"),
        "latency": ("accel", "fbnet-latency", "nb201-latency", "ofa-latency"),
        "throughput": ("accel",),
    }
    return [str(datasets.info(name).space) for name in known[what]]


def _values(space: SearchSpace, table: pd.DataFrame, column: str) -> dict[str, float]:
    numbers = table[column].to_numpy(np.float64)
    if _ARCH in table.columns:
        texts = [space.parse(text).text for text in table[_ARCH]]
    else:
        # A table without texts has the order of its space.
        whole = space.space if isinstance(space, Members) else space
        assert isinstance(whole, FiniteSpace)
        assert len(whole) == len(table)
        texts = [arch.text for arch in whole]
    known = np.isfinite(numbers)
    return {text: float(numbers[k]) for k, text in enumerate(texts) if known[k]}


class Members(FiniteSpace):
    """Some architectures of a space as a space of their own, in a fixed order.

    Args:
        space: The space that they belong to.
        archs: The architectures, at least one.
    """

    def __init__(self, space: SearchSpace, archs: Sequence[Architecture]) -> None:
        self.space = space
        self.name = space.name
        self.whole_networks = space.whole_networks
        self.deployed = space.deployed
        self._archs = list(archs)
        self._places = {arch.text: k for k, arch in enumerate(self._archs)}

    def __len__(self) -> int:
        return len(self._archs)

    def __iter__(self) -> Iterator[Architecture]:
        return iter(self._archs)

    def index(self, arch: Architecture) -> int:
        """Position of a member."""
        self.validate(arch)
        return self._places[arch.text]

    def distributions(self) -> dict[str, BaseDistribution]:
        """Those of the whole space."""
        return self.space.distributions()

    def from_params(self, params: Mapping[str, Any]) -> Architecture:
        """The architecture of a trial's parameters, member or not."""
        return self.space.from_params(params)

    def to_params(self, arch: Architecture) -> dict[str, Any]:
        """The parameters of an architecture."""
        return self.space.to_params(arch)

    def sample(self, rng: np.random.Generator) -> Architecture:
        """A member drawn uniformly."""
        return self._archs[int(rng.integers(len(self._archs)))]

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """A member: a neighbour if there is one, else any."""
        near = self.neighbors(arch)
        return near[int(rng.integers(len(near)))] if near else self.sample(rng)

    def neighbors(self, arch: Architecture) -> list[Architecture]:
        """The neighbours that are members."""
        return [near for near in self.space.neighbors(arch) if near.text in self._places]

    def validate(self, arch: Architecture) -> None:
        """Check that an architecture is a member."""
        if arch.text not in self._places:
            raise InputError(f"{arch.text} is none of {len(self)} architectures of {self.name}")

    def parse(self, text: str) -> Architecture:
        """Read an architecture's text, a member or not."""
        return self.space.parse(text)

    def to_graph(self, arch: Architecture, task: str | None = None) -> Graph:
        """As in the whole space."""
        return self.space.to_graph(arch, task)

    @property
    def has_networks(self) -> bool:
        """As in the whole space."""
        return self.space.has_networks

    def to_network(self, arch: Architecture, task: str | None = None) -> Graph:
        """As in the whole space."""
        return self.space.to_network(arch, task)

    @property
    def tasks(self) -> tuple[str, ...]:
        """As in the whole space."""
        return self.space.tasks

    def to_graphs(self, archs: Sequence[Architecture], task: str | None = None) -> list[Graph]:
        """As in the whole space."""
        return self.space.to_graphs(archs, task)
