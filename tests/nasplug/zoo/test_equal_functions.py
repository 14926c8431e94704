"""Cells that are equal as functions of their weights are predicted alike."""

import itertools
from collections import Counter

import numpy as np
import pytest

import nasplug
from nasplug.search_spaces.nb101.cells import OPS as NB101_OPS
from nasplug.search_spaces.nb101.cells import Cell
from nasplug.search_spaces.nb201 import CELL_EDGES, OPS

NB201, NB101 = nasplug.space("nb201"), nasplug.space("nb101")
# Pools and identities alone: measured 52.80 and 51.33 %.
ONE = (
    "|skip_connect~0|+|skip_connect~0|avg_pool_3x3~1|+"
    "|avg_pool_3x3~0|skip_connect~1|avg_pool_3x3~2|"
)
OTHER = (
    "|avg_pool_3x3~0|+|skip_connect~0|skip_connect~1|+"
    "|skip_connect~0|skip_connect~1|avg_pool_3x3~2|"
)


def canonical(named: dict, ends: Counter, shape, rewritten) -> str:
    """Form of expressions when names are arbitrary: the first of all spellings.

    `named` has the expression of everything with weights of its own; those that nothing reads are
    dropped, and only those of one shape are tried in every order.
    """
    live, waiting = set(), [ends]
    while waiting:
        for name in names_in(waiting.pop()) - live:
            live.add(name)
            waiting.append(named[name][1])
    shapes: dict = {}
    for name in sorted(live):
        shapes[name] = shape(named[name], shapes)
    kinds = sorted(set(shapes.values()))
    alike = [[n for n in sorted(live) if shapes[n] == kind] for kind in kinds]
    found = []
    for orders in itertools.product(*map(itertools.permutations, alike)):
        place = {name: k for k, name in enumerate(itertools.chain(*orders))}
        told = sorted((place[n], named[n][0], rewritten(named[n][1], place)) for n in live)
        found.append(repr((told, rewritten(ends, place))))
    return min(found)


def names_in(term) -> set:
    if isinstance(term, tuple) and term[:1] == ("weights",):
        return {term[1]}
    parts = term if isinstance(term, (tuple, dict)) else ()
    return set().union(*map(names_in, parts))


def renamed(term, place):
    """A term with the places of names in it, sums in an order of their own."""
    if isinstance(term, dict):
        return sorted((repr(renamed(part, place)), times) for part, times in term.items())
    if isinstance(term, tuple) and term[:1] == ("weights",):
        return ("weights", place[term[1]])
    return tuple(renamed(part, place) for part in term) if isinstance(term, tuple) else term


def meaning_201(digits: tuple[int, ...]) -> str:
    """A cell as sums of the input and of convolutions, averaged so many times."""
    sums: list[Counter] = [Counter({("x", 0): 1}), Counter(), Counter(), Counter()]
    named = {}
    for k, (a, b) in enumerate(CELL_EDGES):
        op = OPS[digits[k]]
        if op == "skip_connect":
            sums[b] += sums[a]
        elif op == "avg_pool_3x3":
            sums[b] += Counter({(term, pools + 1): n for (term, pools), n in sums[a].items()})
        elif op != "none" and sums[a]:
            named[k] = op, Counter(sums[a])
            sums[b][("weights", k), 0] += 1
    return canonical(
        named, sums[3], lambda one, shapes: repr((one[0], renamed(one[1], shapes))), renamed
    )


def meaning_101(cell: Cell) -> str:
    """A cell as what its output joins, each a sum under an operation."""
    terms: list = ["x"]
    named = {}
    for v in range(1, cell.vertices):
        total = Counter(terms[a] for a in range(1, v) if cell.has(a, v))
        # What comes from the input passes a convolution of its own.
        op = (NB101_OPS[cell.labels[v - 1]] if v < cell.vertices - 1 else "", cell.has(0, v))
        if op == ("maxpool3x3", False):
            terms.append(("pool", tuple(sorted(total.items(), key=repr))))
        else:
            named[v] = op, total
            terms.append(("weights", v))
    return canonical(
        named,
        Counter([terms[-1]]),
        lambda one, shapes: repr((one[0], renamed(one[1], shapes))),
        renamed,
    )


@pytest.fixture(scope="module")
def classes() -> np.ndarray:
    """Class of each NAS-Bench-201 cell among those of equal function."""
    meanings = [meaning_201(arch.key) for arch in NB201]
    return np.unique(meanings, return_inverse=True)[1]


def spread(values: np.ndarray, classes: np.ndarray) -> float:
    """Largest difference within a class."""
    order = np.argsort(classes, kind="stable")
    starts = np.flatnonzero(np.diff(classes[order], prepend=-1))
    ends = (op.reduceat(values[order], starts) for op in (np.maximum, np.minimum))
    return float(np.subtract(*ends).max())


def test_equal_cells_share_one_graph_and_others_do_not(classes):
    graphs = [NB201.normal_form(graph) for graph in NB201.to_graphs(list(NB201))]
    spelled = np.unique([" ".join(graph.ops) for graph in graphs], return_inverse=True)[1]
    assert len(set(classes)) == 5_044
    assert len(set(zip(classes.tolist(), spelled.tolist(), strict=True))) == 5_044
    assert len(set(spelled)) == 5_044


def test_all_equal_cells_are_predicted_alike(classes):
    said = nasplug.load_predictor("nb201-accuracy").predict(list(NB201))
    for values in (said.mean, said.lower, said.upper):
        assert spread(values, classes) <= 1e-6
    # The means differ between classes, so that this is not for want of information.
    assert len(np.unique(said.mean[:, 0].round(3))) > 3_000


def test_equal_cells_are_predicted_alike_one_by_one_and_as_graphs():
    predictor = nasplug.load_predictor("nb201-accuracy")
    assert meaning_201(NB201.parse(ONE).key) == meaning_201(NB201.parse(OTHER).key)
    found = [predictor.predict([text]).mean for text in (ONE, OTHER)]
    graphs = [predictor.predict([NB201.to_graph(NB201.parse(text))]).mean for text in (ONE, OTHER)]
    np.testing.assert_allclose(found + graphs, [found[0]] * 4, atol=1e-6)


def test_pooling_a_sum_is_summing_pools():
    parts = "|nor_conv_3x3~0|+|none~0|none~1|+|avg_pool_3x3~0|avg_pool_3x3~1|none~2|"
    whole = "|nor_conv_3x3~0|+|skip_connect~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|"
    two = "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|skip_connect~1|skip_connect~2|"
    twice = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|skip_connect~2|"
    first, second, third, fourth = (
        NB201.normal_form(NB201.to_graph(NB201.parse(text))).ops
        for text in (parts, whole, two, twice)
    )
    assert first == second
    # The id is the benchmark's, which joins two convolutions with one that counts twice.
    assert third != fourth
    assert NB201.parse(two).arch_id == NB201.parse(twice).arch_id


def test_a_learned_predictor_counts_equal_cells_as_one():
    rng = np.random.default_rng(0)
    archs = [NB201[int(k)] for k in rng.permutation(15_625)[:60]]
    predictor = nasplug.create_predictor("accuracy", "nb201", encoder=None)
    predictor.fit([*archs, NB201.parse(ONE)], np.linspace(10, 90, 61))
    one, other = predictor.predict([ONE, OTHER]).mean[:, 0]
    assert one == pytest.approx(other, abs=1e-6)


def test_nb101_cells_have_one_code_a_function():
    normal = NB101.normal_codes(NB101.codes)
    assert np.isin(normal, NB101.codes).all()
    changed = np.flatnonzero(normal != NB101.codes)
    assert len(changed) == 4_446
    # All of at most five vertices, and of the others those that change, their twins, and some more.
    some = {*range(2_532), *range(2_532, len(normal), 500), *changed[::6].tolist()}
    some |= set(np.searchsorted(NB101.codes, normal[sorted(some)]).tolist())
    meanings = {k: meaning_101(Cell.from_code(int(NB101.codes[k]))) for k in some}
    pairs = {(meaning, int(normal[k])) for k, meaning in meanings.items()}
    assert len(pairs) == len(set(meanings.values())) == len(set(normal[sorted(some)].tolist()))


def test_equal_nb101_cells_are_predicted_alike_by_graphs_and_by_arrays():
    predictor = nasplug.load_predictor("nb101-accuracy")
    codes = NB101.codes
    some = codes[np.flatnonzero(NB101.normal_codes(codes) != codes)[::50]]
    twins = NB101.normal_codes(some)
    by_arrays = [predictor.predict_codes(part) for part in (some, twins)]
    np.testing.assert_allclose(by_arrays[0].mean, by_arrays[1].mean, atol=1e-6)
    archs = [NB101[int(np.searchsorted(codes, code))] for code in some]
    np.testing.assert_allclose(predictor.predict(archs).mean, by_arrays[0].mean, atol=1e-4)


def test_latency_is_that_of_the_cell_as_it_runs():
    predictor = nasplug.load_predictor("nb201-latency")
    graphs = predictor.graphs([ONE, OTHER])
    assert graphs[0].ops != graphs[1].ops
