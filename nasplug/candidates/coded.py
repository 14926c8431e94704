"""All members of a space of numbers, scored at once: exactly those that matter, the rest fast.

A predictor that reads one network at a time takes milliseconds for each: too long for hundreds of
thousands. Some hundred members that cover the space are predicted by it, a fast model
(`piece_model`) learns from them, and those members that may be better than the best known ones, as
far as the model can be wrong, are predicted by the predictor in turn, round after round. What a
trial tries is always the predictor's own number.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nasplug.candidates.piece_model import PieceModel
from nasplug.candidates.scored import Candidates
from nasplug.candidates.scoring import Quantity, Scores, Scoring
from nasplug.objectives import COSTS, Objective
from nasplug.pareto import improving_points, smallest
from nasplug.predictors.prediction import Prediction
from nasplug.search_spaces import Architecture, CodedSpace

__all__ = ["CodedCandidates"]

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]

# Members that the fast model learns from first, and those at random that tell its error.
LEARNED, HELD_OUT = 600, 200
# Members in a round of those that may be better than what is known, and in all rounds.
ROUND, DOUBTED = 200, 1_000
# How far the fast model is trusted to be wrong there, in its standard errors.
DOUBT = 2.0
_STREAM = 0x636F6465


@dataclass(eq=False)
class _Predicted:
    """A predicted quantity of all members, in the scale of its prediction.

    Attributes:
        target: Its column.
        prediction: A row a member.
        exact: Which rows the predictor itself gave, `(members,)`.
        errors: How wrong the fast model was on members that it had not seen, `(k,)`; empty if the
            predictor gave every row.
    """

    target: str
    prediction: Prediction
    exact: Mask
    errors: Array

    @property
    def error(self) -> float:
        """Root mean square of `errors`."""
        return float(np.sqrt(np.mean(self.errors**2))) if len(self.errors) else 0.0


class CodedCandidates(Candidates):
    """All members of a `CodedSpace`, in its order; what they are is made when it is asked for.

    Args:
        scoring: How members are scored.
        objectives: What a search by prediction optimises, one or two: members that may be among
            the best by them are predicted exactly. None to leave it at the fast model.
    """

    def __init__(self, scoring: Scoring, objectives: Sequence[Objective] | None = None) -> None:
        space = scoring.space
        assert isinstance(space, CodedSpace)
        self.whole = True
        self._scoring = scoring
        self._lock = threading.RLock()
        self._members: CodedSpace = space
        self.cells = _Cells(space)
        self.ids = _Ids(space)
        self.group = np.arange(len(space))
        # Identities that were asked for, as a trial's architecture is in every later trial.
        self._places: dict[str, int] = {}
        self._totals = space.totals()
        self._predicted: dict[str, _Predicted] = {}
        self._model: PieceModel | None = None
        for name in scoring.predicted:
            self._predicted[name] = self._first(name)
        self._scores = self._scored(np.arange(len(space)))
        self._is_refined = objectives is not None
        if objectives is not None and not self._is_exact.all():
            self._refine(objectives)
        # A search has no more use for it, and it is large.
        self._model = None

    # --- what the predictor says ---

    def _first(self, name: str) -> _Predicted:
        """A quantity of all members: by arrays, or of a sample, and of others by the fast model."""
        space = self._members
        target = "latency" if name == "latency" else self._scoring.dataset
        every = np.ones(len(space), np.bool_)
        given = self._scoring.predict_codes(name, space.codes)
        if given is not None:
            return _Predicted(target, given, every, np.empty(0))
        if self._model is None:
            self._model = PieceModel(space, space.counts(), self._totals)
        sample, held_out = _sample(self._totals["flops"])
        rows = np.concatenate([sample, held_out])
        said, target = self._scoring.predict(name, [space[int(k)] for k in rows])
        values = _values(said, target)
        if len(rows) == len(space):
            order = np.argsort(rows)
            return _Predicted(target, _of(said, target, values[order]), every, np.empty(0))
        guess = self._model.at(sample, values[: len(sample)], held_out)
        found = _Predicted(
            target,
            _of(said, target, np.zeros((len(space), 2))),
            ~every,
            guess[:, 0] - values[len(sample) :, 0],
        )
        self._keep(found, rows, values)
        self._fit(found)
        return found

    def _keep(self, found: _Predicted, rows: Indices, values: Array) -> None:
        """Put what the predictor says of some members into the arrays."""
        found.prediction.center[rows, 0] = values[:, 0]
        found.prediction.spread[rows, 0] = np.exp(values[:, 1])
        found.exact[rows] = True

    def _fit(self, found: _Predicted) -> None:
        """Fit the fast model to all that is exact, and tell the other members by it."""
        assert self._model is not None
        known, rest = np.flatnonzero(found.exact), ~found.exact
        center, spread = found.prediction.center[:, 0], found.prediction.spread[:, 0]
        values = np.stack([center[known], np.log(spread[known])], axis=1)
        guess = self._model(known, values)
        # A straight line leads nowhere beyond what was ever seen.
        guess = np.clip(guess, values.min(axis=0) - found.error, values.max(axis=0) + found.error)
        center[rest] = guess[rest, 0]
        # Its own error comes on top of the predictor's.
        wide = np.exp(2 * guess[rest, 1]) + (found.error / _unit(found.prediction)) ** 2
        spread[rest] = np.sqrt(wide)

    def _learn(self, rows: Indices) -> None:
        """Ask the predictors for what they have not said of some members yet."""
        for name, found in self._predicted.items():
            new = np.unique(rows[~found.exact[rows]])
            if len(new):
                archs = [self._members[int(k)] for k in new]
                said, target = self._scoring.predict(name, archs)
                self._keep(found, new, _values(said, target))

    def _scored(self, rows: Indices) -> Scores:
        """Scores of some members by what is known of them now."""
        counts = {name: self._totals[name][rows] for name in COSTS}
        places = np.arange(len(rows))
        predicted = {
            name: (_rows(found.prediction, rows), found.target, places)
            for name, found in self._predicted.items()
        }
        return self._scoring.joined(counts, predicted, np.ones(len(rows), np.bool_))

    def _rescore(self, rows: Indices) -> None:
        """Bring the scores of some members up to date; readers see the old ones or the new."""
        if not len(rows):
            return
        new, old = self._scored(rows), self._scores
        quantities = {}
        for name, values in old.quantities.items():
            if name in COSTS:
                quantities[name] = values
                continue
            parts = []
            for part in ("mean", "std", "lower", "upper"):
                array = getattr(values, part).copy()
                array[rows] = getattr(new.quantities[name], part)
                parts.append(array)
            quantities[name] = Quantity(*parts)
        reachable, met = old.reachable.copy(), old.met.copy()
        reachable[:, rows], met[:, rows] = new.reachable, new.met
        cost = quantities["latency" if "latency" in quantities else "flops"].mean
        self._scores = replace(old, quantities=quantities, reachable=reachable, met=met, cost=cost)

    # --- which members matter ---

    def _refine(self, objectives: Sequence[Objective]) -> None:
        """Predict exactly, round after round, the members that may be better than what is known."""
        left = DOUBTED
        while left > 0:
            doubtful = self._doubtful(objectives, min(ROUND, left))
            if not len(doubtful):
                break
            left -= len(doubtful)
            self._learn(doubtful)
            for found in self._predicted.values():
                if not found.exact.all():
                    self._fit(found)
            self._scores = self._scored(np.arange(len(self)))

    @property
    def _is_exact(self) -> Mask:
        exact = np.ones(len(self), np.bool_)
        for found in self._predicted.values():
            exact &= found.exact
        return exact

    def _doubtful(self, objectives: Sequence[Objective], count: int) -> Indices:
        """Members that may be better than the best known ones, the most promising first.

        As good as the fast model's error allows, they would lie beyond the front of what was
        predicted exactly, or meet a limit that none of those meets.
        """
        hopeful = {
            name: found if found.exact.all() else _shifted(found, self._sign(name, objectives))
            for name, found in self._predicted.items()
        }
        kept = self._predicted
        try:
            self._predicted = hopeful
            scores = self._scored(np.arange(len(self)))
        finally:
            self._predicted = kept
        values = np.stack(
            [o.sign * np.asarray(scores.quantities[o.name].mean) for o in objectives], axis=1
        )
        exact, met = self._is_exact, np.asarray(scores.met.all(axis=0))
        known = values[exact & met]
        if not len(known):
            missed = [
                (c.bound - r if not c.is_upper else r - c.bound) / abs(c.bound)
                for c, r in zip(self.constraints, scores.reachable, strict=True)
            ]
            total = np.maximum(np.array(missed), 0.0).sum(axis=0)
            rest = np.flatnonzero(~exact)
            return np.asarray(rest[smallest(total[rest], count)])
        rest = np.flatnonzero(~exact & met)
        return np.asarray(rest[improving_points(known, values[rest], count)])

    def _sign(self, name: str, objectives: Sequence[Objective]) -> float:
        """+1 if less of a quantity is better, or helps to meet a limit."""
        for objective in objectives:
            if objective.name == name:
                return objective.sign
        return next((1.0 if c.is_upper else -1.0 for c in self.constraints if c.name == name), 1.0)

    # --- what readers see ---

    def __len__(self) -> int:
        return len(self._members)

    @property
    def competing(self) -> Indices:
        """Positions of the members that the predictors themselves scored."""
        return np.flatnonzero(self._is_exact)

    def cheapest(self, mask: Mask | None = None) -> Indices:
        """Positions in a mask: every member is one of its own."""
        return self.group if mask is None else np.flatnonzero(mask)

    def find(self, arch: Architecture) -> int:
        """Position of an architecture."""
        place = self._places.get(arch.text)
        if place is None:
            place = self._members.index(arch)
            self._places[arch.text] = self._places[arch.arch_id] = place
        return place

    def free(
        self, cells: Indices, held: Collection[str], identity: Callable[[Architecture], str]
    ) -> Mask:
        """See `Candidates.free`; ids and texts are both known, as each member is its own."""
        taken = []
        for name in held:
            if name not in self._places:
                self.find(self._members.parse(name))
            taken.append(self._places[name])
        return np.asarray(~np.isin(cells, np.array(taken, np.intp)))

    def add(self, archs: Iterable[Architecture]) -> None:
        """Nothing: all are there."""

    def positions(self, archs: Sequence[Architecture]) -> list[int]:
        """Positions of architectures, whose scores are the predictors' own from then on."""
        places = [self.find(arch) for arch in archs]
        self.settle(np.array(places, np.intp))
        return places

    def settle(self, rows: Indices) -> None:
        """Have some members scored by the predictors themselves, as far as they are not yet."""
        with self._lock:
            new = np.unique(rows)
            new = new[~self._is_exact[new]]
            if len(new):
                self._learn(new)
                self._rescore(new)

    def having(self, adapted: Callable[[Architecture], Architecture], count: int) -> Mask:
        """Members that have fixed parameters, shape `(members,)`; not all, but some hundred.

        Args:
            adapted: Gives an architecture the fixed parameters.
            count: Members to start from: of those that compete, spread over them.
        """
        start = self.competing
        start = start[np.linspace(0, len(start) - 1, min(count, len(start))).astype(np.intp)]
        found = {arch.text: arch for arch in (adapted(self.cells[k]) for k in start)}
        # In its own spelling a member may not have them any more.
        kept = [arch for arch in found.values() if adapted(arch).text == arch.text]
        rows = np.array([self.find(arch) for arch in kept], np.intp)
        if self._is_refined:
            self.settle(rows)
        mask = np.zeros(len(self), np.bool_)
        mask[rows] = True
        return mask

    def notes(self) -> list[str]:
        """How many members the predictor itself scored, and how wrong the fast model is."""
        notes = []
        for name, found in self._predicted.items():
            if found.exact.all():
                continue
            off = np.abs(found.errors)
            if found.prediction.log_scale[0]:
                unit, off = " %", 100 * np.expm1(off)
            else:
                unit = f" {found.prediction.units[0]}"
            notes.append(
                f"all {len(self):,} architectures were scored: the {name} of "
                f"{int(found.exact.sum()):,} by the predictor, these shown among them, of the "
                f"others by a fast model of it (off by {off.mean():.1f}{unit} on average, by less "
                f"than {np.quantile(off, 0.95):.1f}{unit} in 95 of 100 cases)"
            )
        return notes

    def surrogate_errors(self, name: str) -> Array:
        """Errors of the fast model of a quantity on members that it had not seen, `(k,)`.

        In the scale of the prediction: of the logarithm for a latency. Empty without a fast model.
        """
        found = self._predicted.get(name)
        return np.empty(0) if found is None else found.errors.copy()


class _Cells(Sequence[Architecture]):
    """The members of a space, each made when it is asked for."""

    def __init__(self, space: CodedSpace) -> None:
        self._space = space

    def __len__(self) -> int:
        return len(self._space)

    def __getitem__(self, index: int) -> Architecture:  # type: ignore[override]
        return self._space[int(index)]

    def __iter__(self) -> Iterator[Architecture]:
        return iter(self._space)


class _Ids(Sequence[str]):
    """Their `arch_id`s."""

    def __init__(self, space: CodedSpace) -> None:
        self._space = space

    def __len__(self) -> int:
        return len(self._space)

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        return self._space[int(index)].arch_id


def _sample(flops: Array) -> tuple[Indices, Indices]:
    """Members to learn from, spread over the space's order and over sizes; others at random."""
    rng = np.random.default_rng(_STREAM)
    count = len(flops)
    by_size = np.argsort(flops, kind="stable")
    half = np.linspace(0, count - 1, LEARNED // 2).astype(np.intp)
    # The order of the space goes by graph; the offset keeps the labels from being all alike.
    shifted = np.clip(half + rng.integers(0, max(1, count // LEARNED), len(half)), 0, count - 1)
    sample = np.unique(np.concatenate([by_size[half], shifted]))
    rest = np.setdiff1d(np.arange(count), sample)
    return sample, np.sort(rng.choice(rest, min(HELD_OUT, len(rest)), replace=False))


def _values(said: Prediction, target: str) -> Array:
    """Center, and logarithm of the spread, of one column; shape `(n, 2)`."""
    k = said.column(target)
    return np.stack([said.center[:, k], np.log(said.spread[:, k])], axis=1)


def _of(said: Prediction, target: str, values: Array) -> Prediction:
    """A prediction of one column with other centers and spreads, as in `_values`."""
    k = said.column(target)
    return replace(
        said,
        targets=(target,),
        units=(said.units[k],),
        center=values[:, :1].copy(),
        spread=np.exp(values[:, 1:]),
        residuals=said.residuals[:, k : k + 1],
        log_scale=(said.log_scale[k],),
    )


def _rows(prediction: Prediction, rows: Indices) -> Prediction:
    return replace(prediction, center=prediction.center[rows], spread=prediction.spread[rows])


def _shifted(found: _Predicted, sign: float) -> _Predicted:
    """The best that can be hoped for, as far as the fast model is wrong."""
    center = found.prediction.center - sign * DOUBT * found.error * ~found.exact[:, None]
    return replace(found, prediction=replace(found.prediction, center=center))


def _unit(prediction: Prediction) -> float:
    """Standard deviation of the normalised residuals of a prediction."""
    levels = np.linspace(0.01, 0.99, 99)
    return float(np.std(np.interp(levels, prediction.levels, prediction.residuals[:, 0])))
