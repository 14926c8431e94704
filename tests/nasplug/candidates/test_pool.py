"""Candidates of spaces that cannot be listed: the evolving pool, and what is added to it."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from counting_predictors import sum_latency
from hypothesis import given, settings
from hypothesis import strategies as st

from nasplug import hardware
from nasplug.candidates.candidates import Candidates
from nasplug.candidates.constraints import parse_constraints
from nasplug.candidates.listed import ListedCandidates
from nasplug.candidates.pool import LARGEST_LIST, best, candidates_of, is_listed, published
from nasplug.candidates.scoring import Scoring
from nasplug.objectives import OBJECTIVES, PROXIES
from nasplug.pareto import hypervolume, pareto_mask
from nasplug.search_spaces import FiniteSpace, InputError, SearchSpace, space
from nasplug.search_spaces.networks.builder import NetworkBuilder
from nasplug.search_spaces.networks.family import Choices, Decision, Family, at_least
from nasplug.search_spaces.networks.network_space import NetworkSpace

GOALS = (PROXIES["flops"], OBJECTIVES["latency"])
NETS = space("nnlqp:mobilenetv2")


def scoring(of: SearchSpace = NETS, limits: Sequence[str] = ()) -> Scoring:
    return Scoring(
        space=of,
        wanted=tuple(goal.name for goal in GOALS),
        hardware=hardware("RTX 3090"),
        constraints=parse_constraints(limits),
        batch_size=1,
        dataset=of.tasks[0],
        predictors={"latency": sum_latency(of)},
    )


def pool(seed: int = 0, size: int = 240, limits: Sequence[str] = ()) -> Candidates:
    return candidates_of(scoring(limits=limits), GOALS, seed=seed, size=size)


def values(candidates: Candidates) -> np.ndarray:
    return candidates.means([goal.name for goal in GOALS]) * [goal.sign for goal in GOALS]


def test_a_pool_is_distinct_of_its_size_and_holds_the_published_networks() -> None:
    made = pool()
    assert not made.whole
    assert len(made) == len(set(made.ids)) == 240
    assert made.ids == [arch.arch_id for arch in made.architectures]
    known = [arch.arch_id for arch in published(NETS)]
    assert known
    assert set(known) <= set(made.ids)
    scorer = made._scoring.predictors["latency"]
    assert len(scorer.model.scored) == 240  # type: ignore[attr-defined]


def test_a_seed_repeats_and_matters() -> None:
    assert pool(seed=3).ids == pool(seed=3).ids
    assert pool(seed=3).ids != pool(seed=4).ids


def test_evolving_beats_drawing_at_random() -> None:
    evolved = pool(size=400)
    rng = np.random.default_rng(0)
    drawn = {arch.arch_id: arch for arch in (NETS.sample(rng) for _ in range(500))}
    random = ListedCandidates(scoring(), list(drawn.values())[:400], whole=False)
    both = np.vstack([values(evolved), values(random)])
    reference = both.max(axis=0)
    assert hypervolume(values(evolved), reference) > 1.1 * hypervolume(values(random), reference)


def test_a_limit_that_no_random_network_meets_is_met() -> None:
    free = pool(size=400)
    rng = np.random.default_rng(1)
    drawn = {arch.arch_id: arch for arch in (NETS.sample(rng) for _ in range(300))}
    random = ListedCandidates(scoring(), list(drawn.values()), whole=False)
    bound = 0.97 * random.quantities["latency"].mean.min()
    assert bound > 0
    found = pool(size=400, limits=[f"latency<={bound:.6g}ms"])
    assert found.feasible.sum() >= 5
    # What counts is the bound with its probability, not the mean.
    assert (found.quantities["latency"].mean[found.feasible] < bound).all()
    assert free.architectures != found.architectures


def test_an_impossible_limit_names_the_best_that_was_found() -> None:
    found = pool(limits=["latency<=1us"])
    with pytest.raises(InputError) as caught:
        found.check_reachable(hardware("RTX 3090"))
    told = str(caught.value)
    assert told.startswith("none of the 240 nnlqp:mobilenetv2 architectures that were scored meets")
    assert "the smallest bound that one of them meets is latency<=" in told
    possible = told.rpartition(" ")[2]
    pool(limits=[possible]).check_reachable(None)


def _chain(net: NetworkBuilder, chosen: Choices, classes: int) -> int:
    x = net.input
    for layer in range(chosen["depth"]):
        x = net.conv(x, 8, chosen[f"k_{layer}"])
    return net.linear(net.flatten(net.global_pool(x)), classes)


def small_space() -> NetworkSpace:
    """14 networks: one or two or three layers, of kernel 1 or 3 each."""
    depth = Decision("depth", (1, 2, 3), 1)
    kernels = [Decision(f"k_{k}", (1, 3), 3, (at_least(depth, k + 1),)) for k in range(3)]
    return NetworkSpace(Family("chain", (depth, *kernels), _chain))


def test_a_small_space_is_found_whole() -> None:
    made = candidates_of(scoring(small_space()), GOALS, seed=0, size=200)
    assert len(made) == 2 + 4 + 8


def test_what_is_listed() -> None:
    assert is_listed(space("nb201"))
    assert is_listed(space("macro"))
    assert not is_listed(small_space())
    large = type("Large", (FiniteSpace,), {"__len__": lambda _: LARGEST_LIST + 1})
    large.__abstractmethods__ = frozenset()
    assert not is_listed(large())


def test_published_networks_of_a_union() -> None:
    union = space("nnlqp")
    found = published(union)
    for arch in found:
        union.validate(arch)
    names = {arch.arch_id.rpartition("-")[0] for arch in found}
    assert names == set(union.spaces)  # type: ignore[attr-defined]


def test_the_best_come_in_layers_and_nearest_to_the_limit_last() -> None:
    made = pool(limits=["latency<=2.5ms"])
    feasible = np.flatnonzero(made.feasible)
    assert 5 < len(feasible) < len(made) - 5
    chosen = best(made, GOALS, len(feasible) + 3)
    assert set(chosen[: len(feasible)]) == set(feasible)
    front = feasible[pareto_mask(values(made)[feasible])]
    assert set(chosen[: len(front)]) == set(front)
    missed = np.maximum(made.violations(), 0).sum(axis=0)
    rest = np.setdiff1d(np.arange(len(made)), feasible)
    assert missed[chosen[len(feasible) :]].max() <= np.sort(missed[rest])[2] * (1 + 1e-5)


@settings(max_examples=20)
@given(count=st.integers(1, 300))
def test_the_best_are_as_many_as_asked_for(some: Candidates, count: int) -> None:
    chosen = best(some, GOALS, count)
    assert len(set(chosen.tolist())) == len(chosen) == min(count, len(some))


@pytest.fixture(scope="module")
def some() -> Candidates:
    return pool(size=120)


def test_others_are_scored_and_added_at_the_end() -> None:
    made = pool(size=60)
    before, cells = values(made), list(made.architectures)
    rng = np.random.default_rng(9)
    others = [NETS.sample(rng) for _ in range(4)]
    assert [made.find(arch) for arch in others] == [None] * 4
    places = made.indices([others[0], cells[7], others[1], others[0]])
    assert places == [60, 7, 61, 60]
    assert made.architectures[:60] == cells
    np.testing.assert_array_equal(values(made)[:60], before)
    alone = ListedCandidates(scoring(), [others[1]], whole=False)
    np.testing.assert_allclose(values(made)[61], values(alone)[0])
    assert made.cheapest().tolist() == list(range(62))
    assert len(made.feasible) == 62


def test_another_spelling_is_the_same_candidate() -> None:
    fbnet = space("fbnet")
    # A skip inside of a stage changes nothing, wherever it stands.
    stages = "k3_e1|k3_e6|{}" + "|k3_e6" * 17
    one, other = (
        fbnet.parse(stages.format(end)) for end in ("k3_e3|skip|k3_e1", "k3_e3|k3_e1|skip")
    )
    assert one.text != other.text
    assert one.arch_id == other.arch_id
    made = ListedCandidates(scoring(fbnet), [one], whole=False)
    assert made.indices([other, one]) == [0, 0]


def test_a_copy_goes_on_by_itself() -> None:
    made = pool(size=40)
    copy = pickle.loads(pickle.dumps(made))
    other = NETS.sample(np.random.default_rng(5))
    assert copy.indices([other]) == [40]
    assert made.find(other) is None


def test_threads_add_each_network_once() -> None:
    made = pool(size=40)
    rng = np.random.default_rng(6)
    others = [NETS.sample(rng) for _ in range(12)]
    with ThreadPoolExecutor(4) as threads:
        places = list(threads.map(lambda k: made.indices(others[k:] + others[:k]), range(8)))
    assert len(made) == 52
    for k, found in enumerate(places):
        assert [made.architectures[place] for place in found] == others[k:] + others[:k]
