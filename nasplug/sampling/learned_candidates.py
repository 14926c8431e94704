"""The candidates of a study whose values are learned from its trials."""

from __future__ import annotations

from functools import lru_cache

from nasplug.candidates.candidates import Candidates
from nasplug.candidates.enumerated import EnumeratedCandidates
from nasplug.candidates.listed import ListedCandidates
from nasplug.candidates.pool import first_members, is_listed
from nasplug.candidates.scoring import Scoring
from nasplug.sampling.learned_choice import Generators
from nasplug.search_spaces import CodedSpace, FiniteSpace, SearchSpace

__all__ = ["learned_candidates"]

# Share of the pool's size that is drawn at random.
DRAWN = 0.25
# Tells the generator of the pool from those of the trials.
POOL = 0x706F6F6C


def learned_candidates(scoring: Scoring, generators: Generators, size: int) -> Candidates:
    """The candidates of a space where no predicted objective can guide a pool.

    All members of a space that can be listed; else its published networks, and random ones up to a
    quarter of `size`. Children of the best trials join them later.
    """
    space = scoring.space
    if not is_listed(space):
        first = first_members(space, generators(POOL), size, DRAWN)
        return ListedCandidates(scoring, first, whole=False)
    if scoring.predicted or scoring.constraints:
        return _all_members(scoring)
    # Nothing but counts is known of them, which are the same for all samplers.
    return _counted_members(space, scoring.dataset)


def _all_members(scoring: Scoring) -> Candidates:
    if isinstance(scoring.space, CodedSpace):
        return EnumeratedCandidates(scoring)
    assert isinstance(scoring.space, FiniteSpace)
    return ListedCandidates(scoring, list(scoring.space), whole=True)


@lru_cache(maxsize=4)
def _counted_members(space: SearchSpace, dataset: str) -> Candidates:
    return _all_members(Scoring(space, (), None, (), 1, dataset, {}))
