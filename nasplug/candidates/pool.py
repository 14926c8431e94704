"""The candidates of a search by prediction: a whole space, or an evolving pool of its members."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np

from nasplug.arrays import Array, Indices
from nasplug.candidates.candidates import Candidates
from nasplug.candidates.enumerated import EnumeratedCandidates
from nasplug.candidates.listed import ListedCandidates
from nasplug.candidates.scoring import Scoring
from nasplug.objectives import Objective
from nasplug.pareto import pareto_mask
from nasplug.search_spaces import (
    Architecture,
    CodedSpace,
    FiniteSpace,
    InputError,
    SearchSpace,
)

__all__ = ["POOL_SIZE", "best", "candidates_of", "first_members", "is_listed"]

# Largest space that is scored whole; a `CodedSpace` always is.
LARGEST_LIST = 50_000
# Networks that a pool scores by default.
POOL_SIZE = 4_000
# Share of the pool that is drawn at random, and the sizes of a generation. Many small generations
# come further than few large ones.
DRAWN = 0.15
PARENTS = 60
CHILDREN = 60
# Share of children with two parents; such a child has one mutation less.
CROSSED = 0.8
MUTATIONS = (1, 2)
# Draws in succession without a new network, after which a space counts as exhausted.
FRUITLESS = 1_000
# Further digits of a prediction may differ between machines, and must not decide.
DIGITS = 6
# Tells the generator of the pool from those of the trials.
_STREAM = 0x706F6F6C


def is_listed(space: SearchSpace) -> bool:
    """Whether all members of a space are scored."""
    if isinstance(space, CodedSpace):
        return True
    return isinstance(space, FiniteSpace) and len(space) <= LARGEST_LIST


def candidates_of(
    scoring: Scoring, objectives: Sequence[Objective], *, seed: int, size: int = POOL_SIZE
) -> Candidates:
    """The scored candidates of a search by prediction.

    A space that can be listed is scored whole (see `EnumeratedCandidates` for one of hundreds of
    thousands of members); of any other space a pool evolves. Equal arguments give equal candidates,
    as far as the predictors give equal numbers.
    """
    space = scoring.space
    if isinstance(space, CodedSpace):
        return EnumeratedCandidates(scoring, objectives)
    if isinstance(space, FiniteSpace) and is_listed(space):
        return ListedCandidates(scoring, list(space), whole=True)
    return _evolved(scoring, objectives, np.random.default_rng([seed, _STREAM]), size)


def _evolved(
    scoring: Scoring, objectives: Sequence[Objective], rng: np.random.Generator, size: int
) -> ListedCandidates:
    """A pool that evolves by prediction alone.

    It begins with the published networks of the space and random ones. Generations of children of
    the best so far (see `best`) follow, until `size` are scored or no new one is found.
    """
    space = scoring.space
    candidates = ListedCandidates(scoring, first_members(space, rng, size, DRAWN), whole=False)
    while len(candidates) < size:
        parents = [candidates.architectures[k] for k in best(candidates, objectives, PARENTS)]
        children: dict[str, Architecture] = {}
        misses = 0
        for child in _children(space, parents, rng):
            fresh = child.arch_id not in children and candidates.find(child) is None
            misses = 0 if fresh else misses + 1
            if fresh:
                children[child.arch_id] = child
            if len(children) >= min(CHILDREN, size - len(candidates)) or misses >= FRUITLESS:
                break
        if not children:
            break
        candidates.add(children.values())
    return candidates


def first_members(
    space: SearchSpace, rng: np.random.Generator, size: int, drawn: float
) -> list[Architecture]:
    """The published networks of a space, and random ones up to a share of a pool's size."""
    first = {arch.arch_id: arch for arch in published(space)}
    misses = 0
    while len(first) < max(1, round(drawn * size)) and misses < FRUITLESS:
        arch = space.sample(rng)
        misses = misses + 1 if arch.arch_id in first else 0
        first.setdefault(arch.arch_id, arch)
    return list(first.values())[:size]


def published(space: SearchSpace) -> list[Architecture]:
    """The networks of a space that are known by name, and its default one; none if it has none."""
    if space.parts:
        return [
            space.parse(f"{name}:{arch.text.removeprefix(f'{name}:')}")
            for name, part in space.parts.items()
            for arch in published(part)
        ]
    return [*space.standards.values(), *([] if space.standard is None else [space.standard])]


def best(candidates: Candidates, objectives: Sequence[Objective], count: int) -> Indices:
    """Indices of at most `count` candidates to breed from.

    Those that meet every constraint with its probability come before others. Among them whole
    layers of the Pareto order count, the least crowded ones of the last layer; the others are
    ordered by how far they miss the constraints (constrained domination: Deb et al., "NSGA-II",
    2002).
    """
    names = [objective.name for objective in objectives]
    sign = np.array([objective.sign for objective in objectives])
    values = _rounded(candidates.means(names)) * sign
    chosen: list[int] = []
    left = np.flatnonzero(candidates.feasible)
    while len(left) and len(chosen) < count:
        inside = pareto_mask(values[left])
        layer = left[inside]
        if not len(layer):
            break
        room = count - len(chosen)
        if len(layer) > room:
            layer = layer[np.argsort(-_distances(values[layer]), kind="stable")[:room]]
        chosen.extend(layer.tolist())
        left = left[~inside]
    if len(chosen) < count:
        missed = np.maximum(candidates.violations(), 0.0).sum(axis=0)
        missed = np.where(candidates.scores.connected, missed, np.inf)
        others = np.flatnonzero(~candidates.feasible & np.isfinite(missed))
        order = others[np.argsort(_rounded(missed[others]), kind="stable")]
        chosen.extend(order[: count - len(chosen)].tolist())
    return np.array(chosen, np.intp)


def _children(
    space: SearchSpace, parents: Sequence[Architecture], rng: np.random.Generator
) -> Iterator[Architecture]:
    """Endless children: each decision from one of two parents, then mutations."""
    if not parents:
        parents = [space.sample(rng)]
    params = [space.to_params(parent) for parent in parents]
    while True:
        first, second = (int(k) for k in rng.integers(len(parents), size=2))
        child = parents[first]
        mutations = int(rng.choice(MUTATIONS))
        if rng.random() < CROSSED:
            crossed = {
                name: params[first if keep else second][name]
                for name, keep in zip(
                    params[first], rng.random(len(params[first])) < 0.5, strict=True
                )
            }
            # Not every mixture of two networks can be built; the first parent stands for it then.
            with contextlib.suppress(InputError):
                child = space.from_params(crossed)
            mutations -= 1
        for _ in range(mutations):
            child = space.mutate(child, rng)
        yield child


def _distances(layer: Array) -> Array:
    """Crowding distance of each point of a layer: large where it stands alone."""
    total = np.zeros(len(layer))
    for column in layer.T:
        order = np.argsort(column, kind="stable")
        sorted_column = column[order]
        span = sorted_column[-1] - sorted_column[0]
        gaps = np.full(len(layer), np.inf)
        gaps[1:-1] = (sorted_column[2:] - sorted_column[:-2]) / (span or 1.0)
        total[order] += gaps
    return total


def _rounded(values: Array) -> Array:
    """Values with `DIGITS` significant digits."""
    size = np.floor(np.log10(np.maximum(np.abs(values), 1e-300)))
    unit = 10.0 ** (size - DIGITS + 1)
    return np.asarray(np.round(values / unit) * unit)
