"""The candidates that have parameters which the user fixed."""

from __future__ import annotations

import numpy as np

from nasplug.candidates.listed import ListedCandidates
from nasplug.candidates.scoring import Scoring
from nasplug.sampling.fixed_params import FixedParams
from nasplug.search_spaces import SearchSpace, space


def pool(of: SearchSpace, count: int) -> ListedCandidates:
    """Random members of a space, with their counts."""
    rng = np.random.default_rng(0)
    archs = {arch.arch_id: arch for arch in (of.sample(rng) for _ in range(count))}
    scoring = Scoring(of, ("flops", "params"), None, (), 1, of.tasks[0], {})
    return ListedCandidates(scoring, list(archs.values()), whole=False)


def test_a_pool_gets_members_that_have_them_and_each_is_found() -> None:
    nets = space("fbnet")
    candidates = pool(nets, 20)
    name, distribution = next(iter(nets.distributions().items()))
    value = distribution.choices[0]
    before, find = len(candidates), FixedParams(candidates, ())
    mask = find({name: value})
    assert mask is not None
    assert len(mask) == len(candidates) > before
    has = [nets.to_params(arch)[name] == value for arch in candidates.architectures]
    assert mask.tolist() == has
    assert mask.sum() >= 20
    # Candidates that came since are judged too.
    candidates.add([nets.sample(np.random.default_rng(1))])
    later = find({name: value})
    assert later is not None
    assert len(later) == len(mask) + 1


def test_a_whole_architecture_is_the_only_one_and_a_wrong_value_leaves_none() -> None:
    nets = space("fbnet")
    candidates = pool(nets, 8)
    find = FixedParams(candidates, ())
    mask = find(nets.to_params(candidates.architectures[3]))
    assert mask is not None
    assert np.flatnonzero(mask).tolist() == [3]
    name = next(iter(nets.distributions()))
    assert find({name: "no such choice"}) is None
