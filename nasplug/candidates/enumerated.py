"""All members of a `CodedSpace`, scored at once: the promising ones exactly, the others fast.

A predictor that reads one network at a time takes milliseconds for each: too long for hundreds of
thousands. Some hundred members that cover the space are predicted by it, a fast model
(`fast_model`) learns from them, and those members that may be better than the best known ones, as
far as the model can be wrong, are predicted by the predictor in turn, round after round. The
values of a trial are always the predictor's own.

Notation: `rows` are indices of members, `(k,)`; a row is exact if the predictor itself gave it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from nasplug.arrays import Array, Indices, Mask
from nasplug.candidates.candidates import Candidates
from nasplug.candidates.fast_model import CountRidge
from nasplug.candidates.member_predictions import MemberPredictions, one_column, values_of
from nasplug.candidates.scores import Quantity, Scores
from nasplug.candidates.scoring import Scoring
from nasplug.objectives import COSTS, Objective
from nasplug.pareto import improving_points, smallest
from nasplug.search_spaces import Architecture, CodedSpace

__all__ = ["EnumeratedCandidates"]

# Members that the fast model learns from first, and random ones that measure its error.
LEARNED, HELD_OUT = 600, 200
# Members that are predicted exactly because they may be the best: of one round, and of all.
ROUND, DOUBTED = 200, 1_000
_STREAM = 0x636F6465


class EnumeratedCandidates(Candidates):
    """All members of a `CodedSpace`, in its order; each `Architecture` is made when it is read.

    Args:
        scoring: Scores architectures.
        objectives: Objectives of a search by prediction, one or two: members that may be among the
            best by them are predicted exactly. None to leave it at the fast model.
    """

    def __init__(self, scoring: Scoring, objectives: Sequence[Objective] | None = None) -> None:
        super().__init__(scoring, whole=True)
        space = scoring.space
        assert isinstance(space, CodedSpace)
        self._members = space
        self.architectures = _Architectures(space)
        self.ids = _Ids(space)
        self.group = np.arange(len(space))
        # Indices by text and id, as a trial's architecture is looked up in every later trial.
        self._index: dict[str, int] = {}
        self._totals = space.totals()
        self._predicted: dict[str, MemberPredictions] = {}
        model: CountRidge | None = None
        for name in scoring.predicted:
            members = self._by_codes(name)
            if members is None:
                # It is large, so it is made only if it is needed, and not kept.
                model = model or CountRidge(space, space.counts(), self._totals)
                members = self._by_sample(name, model)
            self._predicted[name] = members
        self._scores = self._scored(self.group, self._predicted)
        self._is_refined = objectives is not None
        if objectives is not None and not self._is_exact.all():
            assert model is not None
            self._refine(objectives, model)

    # --- predictions of members ---

    def _by_codes(self, name: str) -> MemberPredictions | None:
        """A quantity of all members from a predictor of arrays; None if it reads graphs alone."""
        prediction = self._scoring.predict_codes(name, self._members.codes)
        if prediction is None:
            return None
        target = self._scoring.target(name)
        return MemberPredictions(target, prediction, np.ones(len(self), np.bool_), np.empty(0))

    def _by_sample(self, name: str, model: CountRidge) -> MemberPredictions:
        """A quantity of all members: of a sample by the predictor, of others by the fast model."""
        space = self._members
        sample, held_out = _sample(self._totals["flops"])
        rows = np.concatenate([sample, held_out])
        prediction, target = self._scoring.predict(name, [space[int(k)] for k in rows])
        values = values_of(prediction, target)
        exact = np.zeros(len(space), np.bool_)
        if len(rows) == len(space):
            order = np.argsort(rows)
            whole = one_column(prediction, target, values[order])
            return MemberPredictions(target, whole, ~exact, np.empty(0))
        guess = model.predict(sample, values[: len(sample)], held_out)
        errors = guess[:, 0] - values[len(sample) :, 0]
        empty = one_column(prediction, target, np.zeros((len(space), 2)))
        members = MemberPredictions(target, empty, exact, errors)
        members.set_exact(rows, values)
        members.refit(model)
        return members

    def _predict_exactly(self, rows: Indices) -> None:
        """Have the predictors themselves predict some members, as far as they have not yet."""
        for name, members in self._predicted.items():
            new = np.unique(rows[~members.exact[rows]])
            if len(new):
                archs = [self._members[int(k)] for k in new]
                prediction, target = self._scoring.predict(name, archs)
                members.set_exact(new, values_of(prediction, target))

    def _scored(self, rows: Indices, predicted: Mapping[str, MemberPredictions]) -> Scores:
        """Scores of some members by given predictions of all."""
        counts = {name: self._totals[name][rows] for name in COSTS}
        order = np.arange(len(rows))
        predictions = {
            name: (members.at(rows), members.target, order) for name, members in predicted.items()
        }
        return self._scoring.joined(counts, predictions, np.ones(len(rows), np.bool_))

    def _rescore(self, rows: Indices) -> None:
        """Bring the scores of some members up to date; readers see the old ones or the new."""
        new, old = self._scored(rows, self._predicted), self._scores
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

    # --- which members are predicted exactly ---

    def _refine(self, objectives: Sequence[Objective], model: CountRidge) -> None:
        """Predict exactly, round after round, the members that may be better than the best."""
        left = DOUBTED
        while left > 0:
            doubtful = self._doubtful(objectives, min(ROUND, left))
            if not len(doubtful):
                break
            left -= len(doubtful)
            self._predict_exactly(doubtful)
            for members in self._predicted.values():
                if not members.exact.all():
                    members.refit(model)
            self._scores = self._scored(self.group, self._predicted)

    @property
    def _is_exact(self) -> Mask:
        """Mask of the members whose quantities are all exact, `(members,)`."""
        exact = np.ones(len(self), np.bool_)
        for members in self._predicted.values():
            exact &= members.exact
        return exact

    def _doubtful(self, objectives: Sequence[Objective], count: int) -> Indices:
        """Members that may be better than the best known ones, the most promising first.

        If the fast model errs in their favour, they lie beyond the front of the exact members, or
        meet a constraint that none of those meets.
        """
        hoped = {
            name: members.hoped(self._sign(name, objectives))
            for name, members in self._predicted.items()
        }
        scores = self._scored(self.group, hoped)
        values = np.stack(
            [o.sign * np.asarray(scores.quantities[o.name].mean) for o in objectives], axis=1
        )
        exact, met = self._is_exact, np.asarray(scores.met.all(axis=0))
        best_values = values[exact & met]
        if not len(best_values):
            missed = [
                (c.bound - r if not c.is_upper else r - c.bound) / abs(c.bound)
                for c, r in zip(self.constraints, scores.reachable, strict=True)
            ]
            total = np.maximum(np.array(missed), 0.0).sum(axis=0)
            inexact = np.flatnonzero(~exact)
            return np.asarray(inexact[smallest(total[inexact], count)])
        inexact = np.flatnonzero(~exact & met)
        return np.asarray(inexact[improving_points(best_values, values[inexact], count)])

    def _sign(self, name: str, objectives: Sequence[Objective]) -> float:
        """+1 if less of a quantity is better, or helps to meet a constraint; else -1."""
        for objective in objectives:
            if objective.name == name:
                return objective.sign
        return next((1.0 if c.is_upper else -1.0 for c in self.constraints if c.name == name), 1.0)

    # --- what readers see ---

    @property
    def competing(self) -> Indices:
        """Indices of the members that the predictors themselves scored."""
        return np.flatnonzero(self._is_exact)

    def cheapest(self, mask: Mask | None = None) -> Indices:
        """Indices in a mask: no two members have one id."""
        return self.group if mask is None else np.flatnonzero(mask)

    def find(self, arch: Architecture) -> int:
        """Index of an architecture."""
        index = self._index.get(arch.text)
        if index is None:
            index = self._members.index(arch)
            self._index[arch.text] = self._index[arch.arch_id] = index
        return index

    def free(self, indices: Indices, held: Collection[str], by_id: bool) -> Mask:
        """Mask of the members at `indices` that no trial holds, see `Candidates.free`.

        No two members have one id, so that ids and texts name the same.
        """
        taken = []
        for name in held:
            if name not in self._index:
                self.find(self._members.parse(name))
            taken.append(self._index[name])
        return np.asarray(~np.isin(indices, np.array(taken, np.intp)))

    def indices(self, archs: Sequence[Architecture]) -> list[int]:
        """Indices of architectures, which the predictors themselves have scored from then on."""
        indices = [self.find(arch) for arch in archs]
        self.settle(np.array(indices, np.intp))
        return indices

    def settle(self, rows: Indices) -> None:
        """Have the predictors themselves score some members, as far as they have not yet."""
        with self._lock:
            new = np.unique(rows)
            new = new[~self._is_exact[new]]
            if len(new):
                self._predict_exactly(new)
                self._rescore(new)

    def having(self, adapted: Callable[[Architecture], Architecture | None], count: int) -> Mask:
        """Mask of some members, not all, that have fixed parameters, `(members,)`.

        `count` members, spread over those that compete, are given the parameters by `adapted`.
        """
        start = self.competing
        start = start[np.linspace(0, len(start) - 1, min(count, len(start))).astype(np.intp)]
        made = [adapted(self.architectures[k]) for k in start]
        archs = {arch.text: arch for arch in made if arch is not None}
        # In its own spelling a member may not have them any more.
        again = {text: adapted(arch) for text, arch in archs.items()}
        fitting = [archs[text] for text, arch in again.items() if arch and arch.text == text]
        rows = np.array([self.find(arch) for arch in fitting], np.intp)
        if self._is_refined:
            self.settle(rows)
        mask = np.zeros(len(self), np.bool_)
        mask[rows] = True
        return mask

    def notes(self) -> list[str]:
        """Sentences on how many members the predictor scored, and how wrong the fast model is."""
        notes = super().notes()
        for name, members in self._predicted.items():
            if members.exact.all():
                continue
            off = np.abs(members.errors)
            if members.prediction.log_scale[0]:
                unit, off = " %", 100 * np.expm1(off)
            else:
                unit = f" {members.prediction.units[0]}"
            notes.append(
                f"the predictor gave the {name} of {int(members.exact.sum()):,} of the "
                f"{len(self):,} architectures, among them all that are shown; a fast model of the "
                f"predictor gave the others (its error is {off.mean():.1f}{unit} on average, and "
                f"below {np.quantile(off, 0.95):.1f}{unit} in 95 of 100 cases)"
            )
        return notes

    def fast_model_errors(self, name: str) -> Array:
        """Errors of the fast model of a quantity on members that it had not seen, `(k,)`.

        In the scale of the prediction: of the logarithm for a latency. Empty without a fast model.
        """
        members = self._predicted.get(name)
        return np.empty(0) if members is None else members.errors.copy()


class _Architectures(Sequence[Architecture]):
    """The members of a space, each made when it is read."""

    def __init__(self, space: CodedSpace) -> None:
        self._space = space

    def __len__(self) -> int:
        return len(self._space)

    def __getitem__(self, index: int) -> Architecture:  # type: ignore[override]
        return self._space[int(index)]

    def __iter__(self) -> Iterator[Architecture]:
        return iter(self._space)


class _Ids(Sequence[str]):
    """The `arch_id`s of the members, each made when it is read."""

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
    others = np.setdiff1d(np.arange(count), sample)
    return sample, np.sort(rng.choice(others, min(HELD_OUT, len(others)), replace=False))
