"""The spaces of whole networks: one contract for all of them, and the benchmarks' own encodings."""

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasplug.search_spaces import Architecture, FiniteSpace, InputError, names, space
from nasplug.search_spaces.networks.family import Decision
from nasplug.search_spaces.networks.network_space import distribution
from nasplug.search_spaces.networks.nnlqp import FAMILIES

SPACES = ("fbnet", "ofa", "accel", "macro", "nnlqp", *(f"nnlqp:{family}" for family in FAMILIES))
seeds = st.integers(0, 2**32 - 1)
checked = settings(max_examples=15)


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def different(a: dict, b: dict) -> set[str]:
    return {name for name in a if a[name] != b[name]}


# --- the contract ------------------------------------------------------------------------------


@pytest.fixture(params=SPACES, scope="module")
def found(request):
    return space(request.param)


@pytest.fixture(params=[name for name in SPACES if name != "nnlqp"], scope="module")
def family_space(request):
    return space(request.param)


def test_spaces_are_registered():
    assert {"fbnet", "ofa", "accel", "macro", "nnlqp"} <= set(names())
    assert space("nnlqp:resnet") is space("nnlqp:resnet")
    assert space("nnlqp:resnet").name == "nnlqp:resnet"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nnlqp:resnett", "unknown family 'resnett'; known: resnet"),
        ("nnlqp:", "unknown family ''"),
        ("nb201:x", "'nb201' has no parts; leave out ':x'"),
        ("nnlq:resnet", "unknown search space 'nnlq:resnet'; known: nnlqp"),
    ],
)
def test_unknown_parts_are_refused(name, words):
    with pytest.raises(InputError, match=words):
        space(name)


@checked
@given(seed=seeds)
def test_params_and_text_say_everything(found, seed):
    arch = found.sample(rng_of(seed))
    found.validate(arch)
    assert arch.space == found.name
    assert found.from_params(found.to_params(arch)) == arch
    assert found.parse(arch.text) == arch
    assert found.to_params(arch).keys() == found.distributions().keys()


@checked
@given(seed=seeds)
def test_a_seed_repeats_and_the_generator_is_used(found, seed):
    assert found.sample(rng_of(seed)) == found.sample(rng_of(seed))
    generator = rng_of(seed)
    arch = found.sample(generator)
    assert len({found.sample(generator).text for _ in range(8)}) > 1
    assert found.mutate(arch, rng_of(seed)) == found.mutate(arch, rng_of(seed))


@settings(max_examples=5)
@given(seed=seeds)
def test_mutation_is_a_neighbor(found, seed):
    generator = rng_of(seed)
    arch = found.sample(generator)
    other = found.mutate(arch, generator)
    neighbors = found.neighbors(arch)
    assert other != arch
    assert other in neighbors
    assert arch not in neighbors
    assert len({one.text for one in neighbors}) == len(neighbors)
    # A block that is taken away takes its decisions with it.
    if len(different(found.to_params(arch), found.to_params(other))) == 1:
        assert arch in found.neighbors(other)


@settings(max_examples=4)
@given(seed=seeds)
def test_graphs_are_whole_networks(found, seed):
    arch = found.sample(rng_of(seed))
    for task in (None, *found.tasks):
        graph = found.to_graph(arch, task)
        assert (graph.ops[0], graph.ops[-1]) == ("Input", "Output")
        fed = {b for _, b in graph.edges}
        used = {a for a, _ in graph.edges}
        assert fed == set(range(1, len(graph)))
        assert used == set(range(len(graph) - 1))
        assert np.isfinite(graph.attributes).all()
        assert graph.total("flops") > 0
    assert np.array_equal(found.to_graph(arch).attributes, found.to_graphs([arch])[0].attributes)


def test_optuna_suggests_from_the_distributions(found):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(2):
        trial = study.ask(found.distributions())
        found.validate(found.from_params(trial.params))
    study.enqueue_trial(found.to_params(found.sample(rng_of(0))))
    trial = study.ask(found.distributions())
    assert found.from_params(trial.params) == found.sample(rng_of(0))


def test_foreign_architectures_are_refused(found):
    arch = found.sample(rng_of(0))
    other = Architecture("other", arch.text, arch.arch_id, arch.key)
    broken = [other, Architecture(found.name, "x", "x", "x"), Architecture(found.name, "", "", ())]
    for bad in broken:
        for method in (found.validate, found.to_params, found.neighbors, found.to_graph):
            with pytest.raises(InputError, match="not an architecture of"):
                method(bad)


@pytest.mark.parametrize("text", ["", "foo", "{", "[1, 2", "a=b", "x:y", "[" * 5000, "1;2", "é"])
def test_foreign_texts_are_refused_in_one_sentence(found, text):
    with pytest.raises(InputError) as caught:
        found.parse(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 900


def test_unknown_image_sets_are_refused(found):
    with pytest.raises(InputError, match="unknown image set 'mnist'"):
        found.to_graph(found.sample(rng_of(0)), "mnist")


def test_missing_and_wrong_parameters_are_named(found):
    params = found.to_params(found.sample(rng_of(0)))
    first = next(iter(params))
    with pytest.raises(InputError, match=f"{first!r} is missing"):
        found.from_params({n: v for n, v in params.items() if n != first})
    with pytest.raises(InputError, match="'wrong'"):
        found.from_params({**params, first: "wrong"})


# --- families ----------------------------------------------------------------------------------


@checked
@given(seed=seeds)
def test_decisions_that_do_not_count_change_nothing(family_space, seed):
    generator = rng_of(seed)
    arch = family_space.sample(generator)
    params = family_space.to_params(arch)
    other = dict(params)
    for decision in family_space.family.decisions:
        if all(params[name] in values for name, values in decision.needs):
            continue
        other[decision.name] = decision.choices[int(generator.integers(len(decision.choices)))]
        assert f"{decision.name}=" not in arch.text
    assert family_space.from_params(other) == arch
    needed = {n: v for n, v in params.items() if f"{n}=" in arch.text}
    if family_space.family.write is None:
        assert family_space.from_params(needed) == arch


def test_kernel_of_a_missing_block_has_no_influence():
    resnet = space("nnlqp:resnet")
    with_it = {**resnet.to_params(resnet.standard), "k_1_3": 7}
    assert resnet.from_params(with_it) == resnet.standard
    assert resnet.from_params({**with_it, "d_1": 3}) != resnet.from_params(
        {**with_it, "d_1": 3, "k_1_3": 3}
    )
    assert "k_1_3" not in resnet.standard.text
    small = space("nnlqp:mobilenetv3").standards["mobilenetv3_small"]
    # The sixth stage is the large variant's alone, and with it the kernels of its blocks.
    assert "_6" not in small.text


def test_no_decision_is_a_dummy(family_space):
    depths = {
        d.name: d.choices[-1] for d in family_space.family.decisions if d.name.startswith("d_")
    }
    params = {**family_space.family.defaults(), **depths}
    base = family_space.to_graph(family_space.from_params(params))
    for decision in family_space.family.decisions:
        others = [choice for choice in decision.choices if choice != params[decision.name]]
        graphs = (
            family_space.to_graph(family_space.from_params({**params, decision.name: other}))
            for other in others
        )
        assert any(
            graph.ops != base.ops
            or graph.edges != base.edges
            or not np.array_equal(graph.attributes, base.attributes)
            for graph in graphs
        ), decision


def test_distributions_know_the_order_of_equal_steps():
    ints = distribution(Decision("k", (3, 5, 7), 3))
    assert (ints.low, ints.high, ints.step) == (3, 7, 2)
    assert distribution(Decision("d", (2,), 2)).single()
    uneven = distribution(Decision("e", (1, 3, 4, 6), 1))
    assert uneven.choices == (1, 3, 4, 6)
    assert distribution(Decision("se", (False, True), False)).choices == (False, True)
    assert distribution(Decision("w", (0.5, 1.0), 1.0)).choices == (0.5, 1.0)


# --- finite spaces -----------------------------------------------------------------------------


def test_finite_spaces_are_listed_in_their_order():
    macro = space("macro")
    assert isinstance(macro, FiniteSpace)
    assert len(macro) == 6_561
    texts = [arch.text for arch in macro]
    assert texts == sorted(texts)
    assert len(set(texts)) == 6_561
    for position in (0, 1, 80, 6_560):
        assert macro.index(macro.parse(texts[position])) == position
    assert isinstance(space("nnlqp:nasbench201"), FiniteSpace)
    assert len(space("nnlqp:nasbench201")) == 15_625
    assert not isinstance(space("fbnet"), FiniteSpace)
