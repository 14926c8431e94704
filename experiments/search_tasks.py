"""The searches of search_quality.py: measured tables of whole spaces, and what counts as found."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nasplug import datasets
from nasplug.acquisition import hypervolume, pareto_mask
from nasplug.search_spaces import Architecture, FiniteSpace, space

Array = NDArray[np.float64]
Direction = Literal["maximize", "minimize"]

# Accuracy of the reference point on NAS-Bench-201; its latency is the largest of the table.
REFERENCE_ACCURACY = 80.0
LIMITS_MS = (6.93, 8.48, 9.53)
DEVICES = {
    "gtx1080ti": "GTX 1080 Ti@1",
    "titanrtx": "Titan RTX@1",
    "xeongold6226": "Xeon Gold 6226@1",
}


@dataclass(frozen=True, eq=False)
class Task:
    """A search over a table.

    Attributes:
        name: Its name.
        space: The space.
        values: What the trial of each architecture gives, `(n, objectives)`, in the space's order.
        directions: Of the objectives.
        violation: How far each architecture misses the limit, ≤ 0 if it does not; None without one.
        reference: The reference point of the hypervolume; None for one objective.
        device: Column of the latency table, for those who measured ten cells of it beforehand.
        limit: The limit in ms.
    """

    name: str
    space: FiniteSpace
    values: Array
    directions: tuple[Direction, ...]
    violation: Array | None = None
    reference: Array | None = None
    device: str | None = None
    limit: float | None = None

    @property
    def sign(self) -> Array:
        """Factors that turn the values into something to minimise."""
        return np.array([1.0 if d == "minimize" else -1.0 for d in self.directions])

    @property
    def losses(self) -> Array:
        """The values as losses, `(n, objectives)`."""
        result: Array = self.values * self.sign
        return result

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """Whether each architecture meets the limit."""
        if self.violation is None:
            return np.ones(len(self.values), np.bool_)
        return np.asarray(self.violation <= 0)

    @property
    def optimum(self) -> float | None:
        """The best feasible value of the table, for one objective."""
        if len(self.directions) > 1:
            return None
        losses = self.losses[self.feasible, 0]
        return float(losses.min() * self.sign[0])

    def archs(self) -> list[Architecture]:
        """All architectures, in the space's order."""
        return _archs(self.space.name)

    @property
    def identity(self) -> NDArray[np.int64]:
        """A number of each architecture; a trial of a number that was tried is a duplicate.

        Cells of equal function share it, unless a latency is measured: it differs between them.
        """
        if self.device is not None or self.violation is not None:
            return np.arange(len(self.values))
        return np.unique([arch.arch_id for arch in self.archs()], return_inverse=True)[1]

    def curve(self, rows: NDArray[np.intp]) -> Array:
        """Best feasible value so far, or share of the table's hypervolume, after each trial."""
        losses, ok = self.losses[rows], self.feasible[rows]
        if self.reference is None:
            best = np.minimum.accumulate(np.where(ok, losses[:, 0], np.inf))
            return np.asarray(best * self.sign[0])
        whole = hypervolume(self.losses, self.reference)
        shares, front = [], np.empty((0, 2))
        for row in losses:
            front = np.vstack([front, row])
            front = front[pareto_mask(front)]
            shares.append(hypervolume(front, self.reference) / whole)
        return np.array(shares)


@cache
def _archs(name: str) -> list[Architecture]:
    return list(space(name))  # type: ignore[call-overload]


@cache
def _table(name: str) -> Any:
    return datasets.load(name)


def _nb201(name: str) -> Task | None:
    parts = name.removeprefix("nb201-").rsplit("-", 1)
    sets = ("cifar10", "cifar100", "imagenet16-120")
    own = space("nb201")
    assert isinstance(own, FiniteSpace)
    accuracy = _table("nb201-accuracy")
    whole = name.removeprefix("nb201-")
    for suffix in ("val", "test"):
        image_set = whole.removesuffix("-test") if suffix == "test" else whole
        if image_set in sets and (suffix == "val" or whole.endswith("-test")):
            values = accuracy[f"{image_set}_{suffix}"].to_numpy(np.float64)[:, None]
            return Task(name, own, values, ("maximize",))
    if len(parts) != 2 or parts[0].split("-", 1)[0] not in ("cifar10", "cifar100"):
        return None
    image_set, what = whole.split("-", 1)
    values = accuracy[f"{image_set}_val"].to_numpy(np.float64)
    device, _, limit = what.partition("-")
    if device not in DEVICES:
        return None
    latency = _table("nb201-latency")[DEVICES[device]].to_numpy(np.float64)
    if limit:
        bound = float(limit.removesuffix("ms"))
        return Task(
            name,
            own,
            values[:, None],
            ("maximize",),
            violation=latency - bound,
            device=DEVICES[device],
            limit=bound,
        )
    return Task(
        name,
        own,
        np.stack([values, latency], axis=1),
        ("maximize", "minimize"),
        reference=np.array([-REFERENCE_ACCURACY, latency.max()]),
        device=DEVICES[device],
    )


def _macro(name: str) -> Task | None:
    own = space("macro")
    assert isinstance(own, FiniteSpace)
    table = _table("macro")
    accuracy = table["cifar10_test"].to_numpy(np.float64)
    if name == "macro-cifar10":
        return Task(name, own, accuracy[:, None], ("maximize",))
    if name == "macro-cifar10-flops":
        flops = table["flops"].to_numpy(np.float64) / 1e6
        return Task(
            name,
            own,
            np.stack([accuracy, flops], axis=1),
            ("maximize", "minimize"),
            reference=np.array([-REFERENCE_ACCURACY, flops.max()]),
        )
    return None


# The reported tasks; others that the names describe are found too, such as nb201-cifar10-test.
TASKS = (
    "nb201-cifar10",
    "nb201-cifar100",
    "nb201-imagenet16-120",
    "nb201-cifar10-gtx1080ti",
    *(f"nb201-cifar10-gtx1080ti-{limit}ms" for limit in LIMITS_MS),
    "nb201-cifar10-titanrtx",
    "nb201-cifar10-xeongold6226",
    "macro-cifar10",
    "macro-cifar10-flops",
)


@cache
def task(name: str) -> Task:
    """A task by name.

    Raises:
        SystemExit: If there is none of that name.
    """
    found = _nb201(name) if name.startswith("nb201-") else None
    found = _macro(name) if name.startswith("macro-") else found
    if found is None:
        raise SystemExit(f"unknown task {name!r}; there are {', '.join(TASKS)}")
    return found
