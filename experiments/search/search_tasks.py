"""The searches of search_quality.py: measured tables of whole spaces, and what counts as found."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna._hypervolume import compute_hypervolume

from experiments.nb101.nb101_labels import labels_of
from experiments.search.measured_spaces import Measured, MeasuredCells, MeasuredModels
from nasplug import datasets
from nasplug.datasets.gpt_networks import ENERGY_BATCH
from nasplug.datasets.importers.gpt_runs import BATCHES
from nasplug.pareto import hypervolume, pareto_mask
from nasplug.search_spaces import Architecture, FiniteSpace, space
from nasplug.searching.objectives import suggest

Array = NDArray[np.float64]
Direction = Literal["maximize", "minimize"]

# Accuracy of the reference point; its other coordinate is the worst of the table.
REFERENCE_ACCURACY = {"nb201": 80.0, "macro": 80.0, "accel": 55.0}
LIMITS_MS = (6.93, 8.48, 9.53)
COLUMNS = ("GTX 1080 Ti@1", "Titan RTX@1", "Xeon Gold 6226@1")
DEVICES = {key.removesuffix("@1").replace(" ", "").lower(): key for key in COLUMNS}
THROUGHPUT = "RTX 3090 img/s"
# Devices of the tables of language models, and the batch of each scale.
GPT_DEVICES = {"h100": "H100", "rtx3080": "RTX 3080", "a100": "A100 40GB", "v100": "V100"}
# Share of the cells of NAS-Bench-101 that count as the best.
BEST_SHARE = 0.001


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
        limit: The limit, in the unit of `violation`.
        limited: Name of the constraint.
        other_violations: How far each architecture misses further limits, by their names.
        enough: Value from which on an architecture counts as found; None for the best one.
    """

    name: str
    space: FiniteSpace
    values: Array
    directions: tuple[Direction, ...]
    violation: Array | None = None
    reference: Array | None = None
    device: str | None = None
    limit: float | None = None
    limited: str = "latency_ms"
    enough: float | None = None
    other_violations: Mapping[str, Array] = field(default_factory=dict)

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
        """Whether each architecture meets the limits."""
        met = np.ones(len(self.values), np.bool_)
        for violation in self.violations.values():
            met &= violation <= 0
        return met

    @property
    def violations(self) -> dict[str, Array]:
        """Distances by which architectures miss each limit, by the name of its constraint."""
        first = {} if self.violation is None else {self.limited: self.violation}
        return {**first, **self.other_violations}

    @property
    def goal(self) -> float | None:
        """The value that is to be found: `enough`, or the best feasible one; None for two."""
        if len(self.directions) > 1:
            return None
        if self.enough is not None:
            return self.enough
        losses = self.losses[self.feasible, 0]
        return float(losses.min() * self.sign[0])

    def archs(self) -> list[Architecture]:
        """All architectures, in the space's order."""
        return architectures(self.space)

    @property
    def apart(self) -> bool:
        """Whether cells of equal function differ: a latency of each was measured."""
        return self.device is not None

    @property
    def identity(self) -> NDArray[np.int64]:
        """A number of each architecture; a trial of a number that was tried is a duplicate."""
        if self.apart:
            return np.arange(len(self.values))
        return np.unique([arch.arch_id for arch in self.archs()], return_inverse=True)[1]

    def row(self, trial: optuna.Trial) -> int:
        """Position of the architecture that a trial chooses."""
        params = suggest(trial, self.space.distributions())
        return self.space.index(self.space.from_params(params))

    def evaluate(self, trial: optuna.Trial, row: int) -> list[float]:
        """Values of an architecture; the trial gets its constraints."""
        for name, violation in self.violations.items():
            trial.set_constraint(name, float(violation[row]))
        values: list[float] = self.values[row].tolist()
        return values

    def objective(self, trial: optuna.Trial) -> list[float]:
        """Look up what a trial chooses."""
        return self.evaluate(trial, self.row(trial))

    def curve(self, rows: NDArray[np.intp]) -> Array:
        """Best value or share of hypervolume after each trial; see `reached`."""
        return np.array([self.reached(rows[: n + 1]) for n in range(len(rows))])

    def reached(self, rows: NDArray[np.intp]) -> float:
        """Best feasible value of some trials, or their share of the table's hypervolume."""
        losses = self.losses[rows]
        if self.reference is None:
            best = np.where(self.feasible[rows], losses[:, 0], np.inf).min()
            return float(best * self.sign[0])
        return self._volume(losses) / _whole_volume(self)

    def _volume(self, losses: Array) -> float:
        front = np.unique(losses[pareto_mask(losses)], axis=0)
        if len(self.directions) == 2:
            return hypervolume(front, self.reference)
        # Fronts of three and more values have hundreds of points.
        return float(compute_hypervolume(front, self.reference, assume_pareto=True))


@cache
def _whole_volume(task: Task) -> float:
    return task._volume(task.losses)


@cache
def architectures(searched: FiniteSpace) -> list[Architecture]:
    """All members of a space, in its order."""
    return list(searched)


@cache
def _table(name: str) -> Any:
    return datasets.load(name)


def _single(name: str, searched: FiniteSpace, accuracy: Array) -> Task:
    return Task(name, searched, accuracy[:, None], ("maximize",))


def _two(
    name: str, searched: FiniteSpace, accuracy: Array, cost: Array, device: str | None = None
) -> Task:
    values = np.stack([accuracy, cost], axis=1)
    reference = np.array([-REFERENCE_ACCURACY[searched.name], cost.max()])
    return Task(
        name, searched, values, ("maximize", "minimize"), reference=reference, device=device
    )


def _limited(
    task: Task, cost: Array, limit: float, limited: str = "latency_ms", device: str | None = None
) -> Task:
    return replace(task, violation=cost - limit, limit=limit, limited=limited, device=device)


def _nb201(name: str) -> Task | None:
    searched = space("nb201")
    assert isinstance(searched, FiniteSpace)
    accuracy = _table("nb201-accuracy")
    form = re.fullmatch(r"nb201-(cifar10|cifar100|imagenet16-120)(-test)?", name)
    if form is not None:
        column = f"{form[1]}_test" if form[2] else f"{form[1]}_val"
        return _single(name, searched, accuracy[column].to_numpy(np.float64))
    form = re.fullmatch(r"nb201-(cifar10|cifar100)-([a-z0-9]+)(?:-([\d.]+)ms)?", name)
    if form is None or form[2] not in DEVICES:
        return None
    device = DEVICES[form[2]]
    values = accuracy[f"{form[1]}_val"].to_numpy(np.float64)
    latency = _table("nb201-latency")[device].to_numpy(np.float64)
    if form[3]:
        return _limited(_single(name, searched, values), latency, float(form[3]), device=device)
    return _two(name, searched, values, latency, device)


def _macro(name: str) -> Task | None:
    searched = space("macro")
    assert isinstance(searched, FiniteSpace)
    table = _table("macro")
    accuracy = table["cifar10_test"].to_numpy(np.float64)
    mflops = table["flops"].to_numpy(np.float64) / 1e6
    single = _single(name, searched, accuracy)
    if name == "macro-cifar10":
        return single
    if name == "macro-cifar10-flops":
        return _two(name, searched, accuracy, mflops)
    form = re.fullmatch(r"macro-cifar10-flops-([\d.]+)M", name)
    return _limited(single, mflops, float(form[1]), "mflops") if form else None


def _nb101(name: str) -> Task | None:
    """Cells of NAS-Bench-101 that have labels; found is one of the best thousandth of them."""
    form = re.fullmatch(r"nb101-(small|ecnas-5v)", name)
    if form is None:
        return None
    labels = labels_of(form[1], None, None)
    order = np.argsort(labels.codes)
    accuracy = labels.validation[order]
    task = _single(name, MeasuredCells(labels.architectures(order)), accuracy)
    best = math.ceil(BEST_SHARE * len(accuracy))
    return replace(task, enough=float(np.sort(accuracy)[-best]))


@cache
def _accel_space() -> tuple[Measured, Array]:
    """Networks measured without noise on the RTX 3090: accuracy and images a second, `(n, 2)`."""
    table = _table("accel")
    speed = table[THROUGHPUT].to_numpy(np.float64)
    is_first = table["first_index"].to_numpy() == np.arange(len(table))
    rows = np.flatnonzero(is_first & np.isfinite(speed) & ~table["noisy_rtx3090"].to_numpy(bool))
    whole = space("accel")
    archs = [whole.parse(text) for text in table["arch"].iloc[rows]]
    top1 = table["imagenet_val"].to_numpy(np.float64)
    return Measured(whole, archs), np.stack([top1, speed], axis=1)[rows]


def _accel(name: str) -> Task | None:
    searched, values = _accel_space()
    single = _single(name, searched, values[:, 0])
    if name == "accel-top1":
        return single
    if name == "accel-rtx3090":
        reference = np.array([-REFERENCE_ACCURACY["accel"], -values[:, 1].min()])
        return Task(name, searched, values, ("maximize", "maximize"), reference=reference)
    form = re.fullmatch(r"accel-rtx3090-(\d+)ips", name)
    if form is None:
        return None
    # Time of an image in ms: what is to be small, as the other limits have it.
    return _limited(single, 1e3 / values[:, 1], 1e3 / float(form[1]), "image_ms")


@cache
def _gpt_space(scale: str) -> tuple[MeasuredModels, Any]:
    """Language models of a scale with a perplexity, and their rows of the table."""
    table = _table(f"gpt-{scale}")
    table = table[np.isfinite(table["perplexity"].to_numpy(np.float64))]
    whole = space(f"gpt:{scale}")
    return MeasuredModels(whole, [whole.parse(text) for text in table["arch"]]), table


def _gpt(name: str) -> Task | None:
    """Perplexity and costs on a device; limits leave 30 % by latency, half by memory."""
    form = re.fullmatch(r"gpt-([sml])-([a-z0-9]+)((?:-(?:latency|energy|memory))+|-limits)", name)
    if form is None or form[2] not in GPT_DEVICES:
        return None
    searched, table = _gpt_space(form[1])
    device = f"{GPT_DEVICES[form[2]]}@{BATCHES[form[1]]}"
    perplexity = table["perplexity"].to_numpy(np.float64)
    joules = f"{GPT_DEVICES[form[2]]}@{ENERGY_BATCH} J"
    columns = {"latency": device, "energy": joules, "memory": "allocated_mb"}
    costs = {key: table[column].to_numpy(np.float64) for key, column in columns.items()}
    if form[3] == "-limits":
        latency, memory = costs["latency"], costs["memory"]
        single = Task(name, searched, perplexity[:, None], ("minimize",))
        limit = float(np.percentile(latency, 30))
        limited = _limited(single, latency, limit, device=device)
        return replace(limited, other_violations={"memory_mb": memory - np.median(memory)})
    chosen = [costs[key] for key in form[3].split("-")[1:]]
    values = np.stack([perplexity, *chosen], axis=1)
    directions: tuple[Direction, ...] = ("minimize",) * values.shape[1]
    return Task(name, searched, values, directions, reference=values.max(axis=0), device=device)


# The reported tasks; others that the names describe are found too, such as nb201-cifar10-test. The
# limits of the other devices leave as many as the middle one of the first: a quarter.
TASKS = (
    "nb201-cifar10",
    "nb201-cifar100",
    "nb201-imagenet16-120",
    "nb201-cifar10-gtx1080ti",
    *(f"nb201-cifar10-gtx1080ti-{limit}ms" for limit in LIMITS_MS),
    "nb201-cifar10-titanrtx",
    "nb201-cifar10-titanrtx-5.64ms",
    "nb201-cifar10-xeongold6226",
    "nb201-cifar10-xeongold6226-7.79ms",
    "macro-cifar10",
    "macro-cifar10-flops",
    "macro-cifar10-flops-45.5M",
    "accel-top1",
    "accel-rtx3090",
    "accel-rtx3090-8200ips",
    "nb101-small",
    "nb101-ecnas-5v",
)


@cache
def task(name: str) -> Task:
    """A task by name.

    Raises:
        SystemExit: If there is none of that name.
    """
    search = _nb201(name) if name.startswith("nb201-") else None
    search = _macro(name) if name.startswith("macro-") else search
    search = _accel(name) if name.startswith("accel-") else search
    search = _nb101(name) if name.startswith("nb101-") else search
    search = _gpt(name) if name.startswith("gpt-") else search
    if search is None:
        raise SystemExit(f"unknown task {name!r}; there are {', '.join(TASKS)}")
    return search
