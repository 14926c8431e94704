"""The contract of a search space, tried on a few of its members."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from nasplug.objectives import COSTS
from nasplug.search_spaces import (
    Architecture,
    CodedSpace,
    FiniteSpace,
    Graph,
    InputError,
    SearchSpace,
)
from nasplug.testing.calls import Calls
from nasplug.testing.expectations import expect, expect_refusal

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["check_space"]

# Texts that no space may take for a member, nor fail on in another way than by refusing them.
FOREIGN_TEXTS = ("", "no such architecture", "{", "[1, 2", "a=b", "x:y", "[" * 5000, "é")
# Most values of a whole number that are tried for neighbors.
MOST_VALUES = 20


def check_space(space: SearchSpace, count: int = 3, seed: int = 0) -> None:
    """Check that a space keeps the promises of `SearchSpace`.

    What the space also is or can do is checked too: `FiniteSpace`, `CodedSpace`, complete networks,
    ONNX models, code, parts and standards.

    Args:
        space: The space.
        count: Members that are drawn and tried.
        seed: Seed of the draws.

    Raises:
        AssertionError: If a promise is broken; the text says which.

    Example:
        >>> import nasplug
        >>> from nasplug.testing import check_space
        >>> check_space(nasplug.space("nb201"))
    """
    expect(isinstance(space, SearchSpace), f"{space!r} is not a SearchSpace")
    calls = Calls(space)
    try:
        _check_all(calls, count, seed)
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(
            f"{calls.last} returns a value that cannot be used ({type(error).__name__}: {error})"
        ) from error


def _check_all(space: Calls, count: int, seed: int) -> None:
    _check_names(space)
    archs = _check_sampling(space, count, seed)
    for arch in archs:
        _check_round_trips(space, arch)
        _check_neighbors(space, arch, seed)
        _check_graphs(space, arch)
    _check_suggestions(space, seed)
    _check_refusals(space, archs[0])
    _check_networks(space, archs[0])
    _check_parts(space, archs[0])
    if isinstance(space.space, FiniteSpace):
        _check_order(space, archs)
    if isinstance(space.space, CodedSpace):
        _check_codes(space, archs)


def _check_names(space: Calls) -> None:
    from optuna.distributions import BaseDistribution

    expect(space.name, "name is empty")
    tasks = space.tasks
    expect(tasks, "tasks is not a tuple of at least one name")
    expect(len(set(tasks)) == len(tasks), f"tasks names one image set twice: {tasks}")
    distributions = space.distributions()
    expect(distributions, "distributions has no parameter")
    for name, distribution in distributions.items():
        expect(
            isinstance(name, str),
            f"distributions has the parameter name {name!r}, which is not a string",
        )
        expect(
            isinstance(distribution, BaseDistribution),
            f"distributions has {distribution!r} for {name}, which is not an Optuna distribution",
        )


def _check_sampling(space: Calls, count: int, seed: int) -> list[Architecture]:
    """Members drawn, distinct where the space lets them be."""
    before = random.getstate(), repr(np.random.get_state())  # noqa: NPY002 - that it is left alone
    draws = [
        [space.sample(generator) for _ in range(max(count, 8))]
        for generator in (np.random.default_rng(seed), np.random.default_rng(seed))
    ]
    for arch in draws[0]:
        _check_architecture(space, arch)
    after = random.getstate(), repr(np.random.get_state())  # noqa: NPY002
    expect(before == after, "sample uses a global random generator; use the one that it is given")
    expect(draws[0] == draws[1], "sample returns different architectures for equal generators")
    is_single = all(d.single() for d in space.distributions().values())
    is_varied = len({arch.text for arch in draws[0]}) > 1
    expect(is_varied or is_single, "sample always returns the same architecture; use the generator")
    return list(dict.fromkeys(draws[0]))[:count]


def _check_architecture(space: Calls, arch: Architecture) -> None:
    expect(
        arch.space == space.name, f"an architecture has the space {arch.space}, not {space.name}"
    )
    for name, value in (("text", arch.text), ("arch_id", arch.arch_id)):
        expect(isinstance(value, str) and value, f"{name} of an architecture is not a string")
    expect("\n" not in arch.text, "text of an architecture has more than one line")
    try:
        is_stable = hash(arch) == hash(replace(arch))
    except TypeError as error:
        raise AssertionError(f"key of an architecture cannot be hashed: {error}") from error
    expect(is_stable, "the hash of an architecture's key is not stable")


class _ReadOnly(Mapping[str, Any]):
    """Parameters that may be read by name alone, as a trial gives them."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return self._params[name]

    def __contains__(self, name: object) -> bool:
        return name in self._params

    def __iter__(self) -> Iterator[str]:
        return iter(self._params)

    def __len__(self) -> int:
        return len(self._params)


def _check_round_trips(space: Calls, arch: Architecture) -> None:
    space.validate(arch)
    params, distributions = space.to_params(arch), space.distributions()
    expect(
        params.keys() == distributions.keys(), "to_params has other parameters than distributions"
    )
    for name, value in params.items():
        is_in = _has(distributions[name], value)
        expect(is_in, f"to_params has {name} = {value!r}, which is not in {distributions[name]}")
    expect(
        space.from_params(MappingProxyType(params)) == arch, "from_params does not undo to_params"
    )
    asked = _ReadOnly(params)
    expect(
        space.from_params(asked) == arch,
        "from_params returns different architectures for equal mappings",
    )
    expect(
        asked.read <= params.keys(),
        "from_params reads a parameter that distributions does not have",
    )
    expect(space.parse(arch.text) == arch, f"parse reads {arch.text!r} as another architecture")


def _has(distribution: BaseDistribution, value: Any) -> bool:
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except (TypeError, ValueError):
        return False


def _check_neighbors(space: Calls, arch: Architecture, seed: int) -> None:
    neighbors = space.neighbors(arch)
    expect(neighbors == space.neighbors(arch), "neighbors change their order between calls")
    expect(arch not in neighbors, "an architecture is its own neighbor")
    expect(len({n.text for n in neighbors}) == len(neighbors), "a neighbor is listed twice")
    for neighbor in neighbors[:5]:
        space.validate(neighbor)
    texts = {neighbor.text for neighbor in neighbors}
    for change, other in _one_decision_apart(space, arch):
        expect(other.text in texts, f"neighbors lacks {other}, the copy with {change}")
    if not neighbors:
        return
    mutants = [space.mutate(arch, np.random.default_rng(seed)) for _ in range(2)]
    expect(mutants[0] == mutants[1], "mutate returns different copies for equal generators")
    expect(mutants[0] != arch, "mutate returns the architecture itself")
    expect(
        mutants[0] in neighbors, f"mutate returns {mutants[0]}, which is not among the neighbors"
    )


def _one_decision_apart(space: Calls, arch: Architecture) -> Iterator[tuple[str, Architecture]]:
    """Yield the members that differ from another in one parameter, each with the change."""
    params = space.to_params(arch)
    for name, distribution in space.distributions().items():
        for value in _values(distribution):
            try:
                other = space.space.from_params({**params, name: value})
            except InputError:
                continue  # the choices allow no such member
            # A parameter of a block that is not there changes nothing; others bring more changes.
            changed = space.to_params(other).items() - params.items()
            if other.text != arch.text and {key for key, _ in changed} == {name}:
                yield f"{name} = {value!r}", other


def _values(distribution: BaseDistribution) -> Sequence[Any]:
    """The values of a choice; those of a number only if they are few."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if isinstance(distribution, IntDistribution):
        values = range(distribution.low, distribution.high + 1, distribution.step)
        return values if len(values) <= MOST_VALUES else ()
    return ()


def _equal(first: Graph, second: Graph) -> bool:
    return (first.ops, first.edges) == (second.ops, second.edges) and np.array_equal(
        first.attributes, second.attributes
    )


def _check_graphs(space: Calls, arch: Architecture) -> None:
    for task in space.tasks:
        graph = space.to_graph(arch, task)
        expect(len(graph), "to_graph returns a graph without nodes")
        expect(np.isfinite(graph.attributes).all(), "an attribute of a graph is not finite")
        expect((graph.attributes >= 0).all(), "an attribute of a graph is negative")
        expect(
            _equal(graph, space.to_graph(arch, task)),
            "to_graph returns a different graph each time",
        )
        normal = space.normal_form(graph)
        expect(
            _equal(space.normal_form(normal), normal),
            "normal_form changes a graph that is already in normal form",
        )
    first = space.to_graph(arch, space.tasks[0])
    expect(
        _equal(space.to_graph(arch), first), "to_graph without a task must be for the first task"
    )
    several = space.to_graphs([arch])
    expect(len(several) == 1, "to_graphs does not return one graph per architecture")
    expect(_equal(several[0], first), "to_graphs returns other graphs than to_graph")
    expect(space.to_graphs([]) == [], "to_graphs of an empty list is not empty")
    to_graph = space.space.to_graph
    expect_refusal(lambda: to_graph(arch, "no-such-task"), "an unknown task in to_graph")


def _check_suggestions(space: Calls, seed: int) -> None:
    """Any values of the parameters, not only those that `sample` draws, make a member."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        for _ in range(5):
            params = study.ask(space.distributions()).params
            arch = space.from_params(params)
            space.validate(arch)
            again = space.from_params(space.to_params(arch))
            expect(again == arch, f"from_params and to_params disagree on {params}")
    finally:
        optuna.logging.set_verbosity(level)


def _check_refusals(calls: Calls, arch: Architecture) -> None:
    space = calls.space
    strangers = (
        replace(arch, space="another-space"),
        Architecture(space.name, "x", "x", "x"),
        Architecture(space.name, "", "", ()),
    )
    for method in (space.validate, space.to_params, space.neighbors, space.to_graph):
        for stranger in strangers:
            expect_refusal(
                lambda m=method, s=stranger: m(s),  # type: ignore[misc]
                f"a foreign architecture in {method.__name__}",
            )
    for text in FOREIGN_TEXTS:
        expect_refusal(lambda t=text: space.parse(t), f"the text {text[:30]!r} in parse")  # type: ignore[misc]
    params = space.to_params(arch)
    first = next(iter(params))
    expect_refusal(lambda: space.from_params({}), "a trial without parameters in from_params")
    expect_refusal(
        lambda: space.from_params({**params, first: "no such value"}),
        f"an unknown value of {first} in from_params",
    )


def _check_networks(space: Calls, arch: Architecture) -> None:
    if space.has_networks:
        network = space.to_network(arch)
        expect(
            (network.ops[0], network.ops[-1]) == ("Input", "Output"),
            "to_network does not begin with Input and end with Output",
        )
        fed, used = {b for _, b in network.edges}, {a for a, _ in network.edges}
        expect(fed == set(range(1, len(network))), "an operator of to_network has no input")
        expect(used == set(range(len(network) - 1)), "an operator of to_network has no consumer")
    else:
        expect_refusal(
            lambda: space.space.to_network(arch), "to_network of a space without networks"
        )
    _check_code(space, arch)
    if not space.writes_onnx:
        expect_refusal(
            lambda: space.space.to_onnx(arch), "to_onnx of a space that writes no models"
        )
        return
    import onnx

    model = space.to_onnx(arch, seed=1, batch_size=2)
    expect(isinstance(model, onnx.ModelProto), f"to_onnx returns {type(model).__name__}")
    onnx.checker.check_model(model)
    images = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    expect(images == 2, f"to_onnx writes a model with batch size {images} instead of 2")
    same = space.to_onnx(arch, seed=1, batch_size=2).SerializeToString()
    expect(same == model.SerializeToString(), "to_onnx writes different weights for equal seeds")


def _check_code(space: Calls, arch: Architecture) -> None:
    if not space.writes_code:
        expect_refusal(lambda: space.space.to_code(arch), "to_code of a space that writes no code")
        return
    code = space.to_code(arch)
    sizes = ("LENGTH", "VOCABULARY") if space.quality == "perplexity" else ("IMAGE", "CLASSES")
    missing = [name for name in ("Network", *sizes) if name not in code]
    expect(not missing, f"the code that to_code writes lacks {', '.join(missing)}")


def _check_parts(space: Calls, arch: Architecture) -> None:
    family = space.family_of(arch)
    expect(family, "family_of returns an empty name")
    is_known = family in space.parts or not space.parts
    expect(is_known, f"family_of returns {family!r}, which is not a part of the space")
    for part in space.parts.values():
        expect(isinstance(part, SearchSpace), f"the part {part!r} is not a SearchSpace")
    standards = [*space.standards.values(), *filter(None, [space.standard])]
    for standard in standards:
        is_member = isinstance(standard, Architecture)
        expect(is_member, f"{standard!r}, from standards or standard, is not an Architecture")
        space.validate(standard)


def _check_order(space: Calls, archs: list[Architecture]) -> None:
    size = space.__len__()
    expect(size > 0, "the space has no members")
    # The members of a space of codes are made one by one; its iteration may prepare all of them.
    if isinstance(space.space, CodedSpace):
        listed = [space.__getitem__(k) for k in range(min(3, size))]
    else:
        listed = list(islice(space.__iter__(), 3))
        expect(
            all(isinstance(a, Architecture) for a in listed),
            "__iter__ yields values that are not Architectures",
        )
        expect(
            [space.__getitem__(k) for k in range(len(listed))] == listed,
            "__getitem__ disagrees with the order of __iter__",
        )
    expect(
        [space.index(a) for a in listed] == list(range(len(listed))),
        "index disagrees with the order of __iter__",
    )
    positions = [space.index(arch) for arch in archs]
    expect(all(0 <= k < size for k in positions), f"index returns a position outside {positions}")
    expect(len(set(positions)) == len(archs), "index returns the same position for two members")


def _check_codes(space: Calls, archs: list[Architecture]) -> None:
    codes = space.codes
    expect(codes.shape == (space.__len__(),), "the length of codes is not that of the space")
    expect((codes[1:] > codes[:-1]).all(), "codes are not in ascending order")
    positions = np.array([space.index(arch) for arch in archs])
    expect(
        [space.__getitem__(int(k)) for k in positions] == archs,
        "the member at index(arch) is another architecture",
    )
    some, graphs = codes[positions], space.to_graphs(archs)
    totals = space.totals(some)
    expect(not set(COSTS) - totals.keys(), f"totals lacks one of {', '.join(COSTS)}")
    for name, values in totals.items():
        expected = [graph.total(name) for graph in graphs]
        expect(np.allclose(values, expected), f"totals and the graphs disagree on {name}")
    counts = space.counts(some)
    expect(
        counts.ndim == 2 and len(counts) == len(archs), "counts does not have one row per member"
    )
    normal = space.normal_codes(some)
    expect(np.isin(normal, codes).all(), "normal_codes returns a code that no member has")
    for graph, code in zip(graphs, normal, strict=True):
        member = space.__getitem__(int(np.searchsorted(codes, code)))
        same = _equal(space.normal_form(graph), space.normal_form(space.to_graph(member)))
        expect(same, "normal_codes and normal_form disagree")
    if space.has_arrays:
        space.arrays(some)
    else:
        arrays = space.space.arrays  # type: ignore[attr-defined]
        expect_refusal(lambda: arrays(some), "arrays of a space without them")
