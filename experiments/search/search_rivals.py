"""The samplers that nasplug is compared with in search_quality.py; none of them is nasplug's.

A sampler takes a task, a seed, a number of trials, and a stopwatch to be pressed after each trial,
and gives the positions of the architectures it tried. The protocols of those outside Optuna: see
docs/results/sampler.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.special import ndtr
from scipy.stats import norm, rankdata

from experiments.search.measured_spaces import Measured, MeasuredModels
from experiments.search.search_tasks import Task, architectures
from nasplug.pareto import pareto_mask
from nasplug.predictors.features.cells import Paths
from nasplug.sampling.acquisition import expected_hypervolume_improvement, expected_improvement
from nasplug.search_spaces import Architecture, FiniteSpace
from nasplug.searching.objectives import suggest

Array = NDArray[np.float64]
Trials = Iterator[int]
Sampler = Callable[[Task, int, int], Trials]

RANDOM_CELLS = 10
POPULATION, TOURNAMENT = 30, 10
# Lengths and noises that the process over path features chooses from.
LENGTHS, NOISES = (2.0, 3.5, 6.0), (0.02, 0.1)


def in_study(task: Task, sampler: optuna.samplers.BaseSampler, trials: int) -> Trials:
    """The trials of an Optuna study."""
    study = optuna.create_study(directions=list(task.directions), sampler=sampler)
    tried: set[int] = set()
    for _ in range(trials):
        trial = study.ask()
        if isinstance(task.space, Measured):
            params = suggest(trial, task.space.distributions())
            arch = task.space.nearest(params, tried)
            row = task.space.index(arch)
            settle(study, trial, task.space, arch)
        else:
            row = task.row(trial)
        tried.add(row)
        study.tell(trial, task.evaluate(trial, row))
        yield row


def settle(
    study: optuna.Study, trial: optuna.Trial, searched: FiniteSpace, arch: Architecture
) -> None:
    """Give a trial the parameters of the architecture that was measured in its place."""
    for name, value in searched.to_params(arch).items():
        distribution = trial.distributions[name]
        study._storage.set_trial_param(
            trial._trial_id, name, distribution.to_internal_repr(value), distribution
        )


def _optuna(make: Callable[[int], optuna.samplers.BaseSampler]) -> Sampler:
    return lambda task, seed, trials: in_study(task, make(seed), trials)


def regularized_evolution(task: Task, seed: int, trials: int) -> Trials:
    """Population 30, tournaments of 10, one edge changed, the oldest dies.

    Under a limit a feasible one wins, then the better one, then the one that misses by less.
    """
    rng = np.random.default_rng(seed)
    archs, positions = task.archs(), _places(task.space)
    losses = task.losses[:, 0]
    missed = np.zeros(len(archs)) if task.violation is None else np.maximum(task.violation, 0)
    alive: list[int] = []
    for _ in range(trials):
        if len(alive) < POPULATION:
            row = int(rng.integers(len(archs)))
        else:
            drawn = rng.choice(len(alive), TOURNAMENT, replace=False)
            parent = min((alive[k] for k in drawn), key=lambda k: (missed[k], losses[k]))
            row = positions[task.space.mutate(archs[parent], rng).text]
            alive.pop(0)
        alive.append(row)
        yield row


def random_members(task: Task, seed: int, trials: int) -> Trials:
    """Members of a list in a random order."""
    yield from map(int, np.random.default_rng(seed).permutation(len(task.values))[:trials])


def local_search(task: Task, seed: int, trials: int) -> Trials:
    """The search of HW-GPT-Bench: a random decision of a random network of the front changes.

    It begins with the largest network, the smallest one, one between them, and a random one.
    """
    rng = np.random.default_rng(seed)
    choices = _choices_of(task.space)
    random_one = {name: values[int(rng.integers(len(values)))] for name, values in choices.items()}
    starts = [*_first_models(choices), random_one]
    rows: list[int] = []
    while len(rows) < trials:
        if len(rows) < len(starts):
            params = starts[len(rows)]
        else:
            front = np.flatnonzero(pareto_mask(task.losses[rows]))
            parent = rows[int(rng.choice(front))]
            params = dict(task.space.to_params(task.archs()[parent]))
            name = list(choices)[int(rng.integers(len(choices)))]
            others = [value for value in choices[name] if value != params[name]]
            params[name] = others[int(rng.integers(len(others)))]
        rows.append(_row_instead(task, params, rows))
        yield rows[-1]


def multi_objective_evolution(task: Task, seed: int, trials: int) -> Trials:
    """Syne Tune's multi-objective regularized evolution, with the first networks of HW-GPT-Bench.

    Raises:
        SystemExit: If Syne Tune is not installed.
    """
    try:
        from syne_tune.config_space import choice
        from syne_tune.optimizer.schedulers.multiobjective import (
            multi_objective_regularized_evolution as published,
        )
    except ImportError:
        raise SystemExit("sampler morea needs Syne Tune: pip install syne-tune==0.16.0") from None
    # It draws from numpy's global generator, too.
    np.random.seed(seed)  # noqa: NPY002
    choices = _choices_of(task.space)
    searcher = published.MultiObjectiveRegularizedEvolution(
        {name: choice(values) for name, values in choices.items()},
        points_to_evaluate=_first_models(choices),
        random_seed=seed,
    )
    rows: list[int] = []
    while len(rows) < trials:
        rows.append(_row_instead(task, searcher.suggest(), rows))
        config = dict(task.space.to_params(task.archs()[rows[-1]]))
        searcher.on_trial_complete(len(rows) - 1, config, task.losses[rows[-1]].tolist())
        yield rows[-1]


def _choices_of(searched: FiniteSpace) -> dict[str, list[Any]]:
    """The choices of each decision of measured language models."""
    assert isinstance(searched, MeasuredModels)
    return {decision.name: list(decision.choices) for decision in searched.decisions}


def _first_models(choices: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """The largest network, the smallest one, and one of which the first half is small."""
    half = len(choices) // 2
    between = [values[0 if k < half else -1] for k, values in enumerate(choices.values())]
    ends = [[values[k] for values in choices.values()] for k in (-1, 0)]
    return [dict(zip(choices, values, strict=True)) for values in (*ends, between)]


def _row_instead(task: Task, params: dict[str, Any], tried: list[int]) -> int:
    """Position of the nearest measured network that was not tried."""
    assert isinstance(task.space, Measured)
    return task.space.index(task.space.nearest(params, tried))


@cache
def _places(searched: FiniteSpace) -> dict[str, int]:
    return {arch.text: k for k, arch in enumerate(architectures(searched))}


@cache
def _one_hot(searched: FiniteSpace) -> Array:
    rows = [searched.to_params(arch) for arch in architectures(searched)]
    choices = {name: sorted({row[name] for row in rows}) for name in searched.distributions()}
    return np.array([[float(row[n] == c) for n in choices for c in choices[n]] for row in rows])


@cache
def _path_features(searched: FiniteSpace) -> Array:
    if searched.name not in ("nb201", "nb101"):
        # The paths are those of cells; other networks are what their choices are.
        return _one_hot(searched) * 0.7
    graphs = searched.to_graphs(architectures(searched))
    return Paths.of(graphs)(graphs)


def random_forest(task: Task, seed: int, trials: int) -> Trials:
    """A forest for each objective on one-hot features, whose best unseen predictions come next.

    One objective: 10 random cells, then the five best. Two: 20 random cells, then the predicted
    fronts are peeled, each shuffled, until ten are taken. Under a limit the latency has a forest
    too, and what it expects to miss the limit is left out.
    """
    from sklearn.ensemble import RandomForestRegressor

    rng = np.random.default_rng(seed)
    x, losses = _one_hot(task.space), task.losses
    is_multi = losses.shape[1] > 1
    rows = list(rng.choice(len(x), 20 if is_multi else RANDOM_CELLS, replace=False))[:trials]
    yield from map(int, rows)
    while len(rows) < trials:
        columns = [*losses.T, *([] if task.violation is None else [task.violation])]
        predicted = np.stack(
            [
                RandomForestRegressor(100, random_state=seed).fit(x[rows], c[rows]).predict(x)
                for c in columns
            ],
            axis=1,
        )
        left = np.setdiff1d(np.arange(len(x)), rows)
        if task.violation is not None:
            within = left[predicted[left, 1] <= 0]
            left = within if len(within) else left
        chosen: list[int] = []
        if not is_multi:
            chosen = left[np.argsort(predicted[left, 0], kind="stable")][:5].tolist()
        while is_multi and len(chosen) < 10:
            inside = pareto_mask(predicted[left])
            chosen += rng.permutation(left[inside]).tolist()
            left = left[~inside]
        chosen = chosen[: 10 if is_multi else 5][: trials - len(rows)]
        rows += chosen
        yield from chosen


def path_process(task: Task, seed: int, trials: int) -> Trials:
    """A Gaussian process over path features, with expected improvement over all cells.

    Unit variance, one length and one noise by marginal likelihood; normal scores of accuracies,
    logarithms of latencies. Two objectives: analytic expected hypervolume improvement. Under a
    limit: times the probability of meeting it, cells below one half last.
    """
    rng = np.random.default_rng(seed)
    x = _path_features(task.space)
    # All of the same rows: their distances are not worth sharing.
    value_processes = [_Process(x) for _ in task.directions]
    limit_process = _Process(x)
    rows = list(rng.choice(len(x), RANDOM_CELLS, replace=False))[:trials]
    yield from map(int, rows)
    while len(rows) < trials:
        done = np.array(rows)
        losses = task.losses[done]
        mean, std, seen = [], [], []
        for k, direction in enumerate(task.directions):
            y = (
                _standard(np.log(losses[:, k]))
                if direction == "minimize"
                else _scores(losses[:, k])
            )
            m, v = value_processes[k](done, y)
            mean.append(m)
            std.append(np.sqrt(v))
            seen.append(y)
        if len(mean) == 1:
            ok = task.feasible[done]
            best = float(seen[0][ok].min()) if ok.any() else None
            gain = np.ones(len(x)) if best is None else expected_improvement(mean[0], std[0], best)
        else:
            front = np.stack(seen, axis=1)
            reference = front.max(0) + 0.1 * np.ptp(front, axis=0)
            gain = expected_hypervolume_improvement(
                np.stack(mean, axis=1), np.stack(std, axis=1), front, reference
            )
        if task.violation is not None:
            assert task.limit is not None
            logs = np.log(task.violation[done] + task.limit)
            center, scale = logs.mean(), logs.std() or 1.0
            m, v = limit_process(done, (logs - center) / scale)
            chance = ndtr(((np.log(task.limit) - center) / scale - m) / np.sqrt(v))
            gain = gain * chance - np.where(chance < 0.5, 1e6 * (1 - chance), 0.0)
        gain[done] = -np.inf
        rows.append(int(gain.argmax()))
        yield rows[-1]


def _scores(values: Array) -> Array:
    return np.asarray(norm.ppf((rankdata(values) - 0.5) / len(values)))


def _standard(values: Array) -> Array:
    return np.asarray((values - values.mean()) / (values.std() or 1.0))


class _Process:
    """A zero-mean process of unit variance over all cells, which learns rows one after another."""

    def __init__(self, x: Array) -> None:
        self._x, self._squares = x, (x * x).sum(1)
        self._rows: list[int] = []
        # Squared distances of the rows to all cells, and what each pair has solved by now.
        self._distances = np.empty((0, len(x)))
        self._solved: dict[tuple[float, float], Array] = {}

    def __call__(self, rows: NDArray[np.intp], y: Array) -> tuple[Array, Array]:
        """Mean and variance of all cells, by the pair of the largest marginal likelihood."""
        self._learn(rows)
        best: Any = None
        for length in LENGTHS:
            kernel = np.exp(-0.5 * self._distances[:, rows] / length**2)
            for noise in NOISES:
                low = cholesky(kernel + (noise + 1e-8) * np.eye(len(rows)), lower=True)
                weights = solve_triangular(low, y, lower=True)
                evidence = -0.5 * weights @ weights - np.log(np.diag(low)).sum()
                if best is None or evidence > best[0]:
                    best = evidence, (length, noise), low, weights
        _, pair, low, weights = best
        solved = self._solved.get(pair, np.empty((0, len(self._x))))
        start = len(solved)
        if start < len(rows):
            across = np.exp(-0.5 * self._distances[start:] / pair[0] ** 2)
            across -= low[start:, :start] @ solved
            part = solve_triangular(low[start:, start:], across, lower=True)
            self._solved[pair] = solved = np.concatenate([solved, part])
        return weights @ solved, np.maximum(1 - np.einsum("ij,ij->j", solved, solved), 1e-12)

    def _learn(self, rows: NDArray[np.intp]) -> None:
        new = rows[len(self._rows) :]
        assert self._rows == rows[: len(self._rows)].tolist()
        distances = self._squares[new][:, None] + self._squares - 2 * self._x[new] @ self._x.T
        self._distances = np.concatenate([self._distances, distances])
        self._rows = rows.tolist()


RIVALS: dict[str, Sampler] = {
    "random": _optuna(lambda seed: optuna.samplers.RandomSampler(seed=seed)),
    "random-members": random_members,
    "evolution": regularized_evolution,
    "tpe": _optuna(lambda seed: optuna.samplers.TPESampler(seed=seed)),
    "nsga2": _optuna(lambda seed: optuna.samplers.NSGAIISampler(population_size=20, seed=seed)),
    "nsga3": _optuna(lambda seed: optuna.samplers.NSGAIIISampler(population_size=20, seed=seed)),
    "local-search": local_search,
    "morea": multi_objective_evolution,
    "gp": _optuna(lambda seed: optuna.samplers.GPSampler(seed=seed)),
    "forest": random_forest,
    "path-gp": path_process,
}
