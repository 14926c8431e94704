"""Spaces of builders: parameters, members, and what makes two settings one architecture."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks_by_trial import EXAMPLE, Net, build, build_mixed, build_small
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from torch import nn

import nasplug
from nasplug.search_spaces import FiniteSpace, InputError, SearchSpace
from nasplug.search_spaces.builders import BuilderSpace
from nasplug.testing import check_space


@pytest.fixture(scope="module")
def space() -> BuilderSpace:
    return nasplug.space(build, example=EXAMPLE)


@pytest.fixture(scope="module")
def mixed() -> BuilderSpace:
    return nasplug.space(build_mixed, example=EXAMPLE)


def test_conditional_parameters_are_found(space: BuilderSpace, mixed: BuilderSpace) -> None:
    kernel = CategoricalDistribution((3, 5, 7))
    assert space.distributions() == {
        "width": IntDistribution(8, 48, step=8),
        "depth": IntDistribution(1, 6),
        **{f"kernel{i}": kernel for i in range(6)},
    }
    assert set(mixed.distributions()) == {"kind", "width", "share", "groups", "dropout", "bias"}
    assert mixed.distributions()["groups"] == IntDistribution(1, 2)


@pytest.mark.parametrize("builder", [build, build_small, build_mixed])
def test_the_contract_of_spaces_is_kept(builder: Callable[[Any], Any]) -> None:
    check_space(nasplug.space(builder, example=EXAMPLE), count=4)


def test_small_spaces_are_listed(space: BuilderSpace) -> None:
    small = nasplug.space(build_small, example=EXAMPLE)
    assert isinstance(small, FiniteSpace)
    assert len(small) == 8
    assert not isinstance(space, FiniteSpace)
    # The kernel of a block that is not there makes no other network.
    assert len({arch.arch_id for arch in small}) == 6


def test_settings_of_one_network_are_one_architecture() -> None:
    def widths(trial: Any) -> nn.Module:
        # Rounded to eights, and with a part that is nothing.
        width = max(8, trial.suggest_int("width", 6, 40) // 8 * 8)
        part = nn.Identity() if trial.suggest_categorical("idle", (True, False)) else nn.Dropout(0)
        return nn.Sequential(nn.Conv2d(3, width, 3), part, nn.ReLU())

    space = nasplug.space(widths, EXAMPLE)
    ids = {
        space.parse(f"width={width},idle={idle}").arch_id
        for width in (16, 17, 23)
        for idle in ("true", "false")
    }
    assert len(ids) == 1
    assert space.parse("width=24,idle=true").arch_id not in ids


@pytest.mark.parametrize(
    "layer",
    [
        lambda size: nn.Conv2d(3, 8, 3, padding=size, dilation=size),
        lambda size: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Dropout(size / 4)),
        lambda size: nn.Sequential(nn.Conv2d(3, 8, 3), nn.LeakyReLU(size / 10)),
        lambda size: nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2 * size, 8)),
    ],
)
def test_networks_of_equal_cost_are_told_apart(layer: Callable[[int], nn.Module]) -> None:
    space = nasplug.space(lambda trial: layer(trial.suggest_int("size", 1, 2)), EXAMPLE)
    first, second = list(space)  # type: ignore[call-overload]
    assert first.arch_id != second.arch_id
    graphs = space.to_graphs([first, second])
    assert graphs[0].total("flops") == graphs[1].total("flops")


def test_a_graph_is_that_of_the_model(space: BuilderSpace) -> None:
    trial = optuna.trial.FixedTrial({"width": 16, "depth": 2, "kernel0": 3, "kernel1": 5})
    model = space.model(trial)
    assert isinstance(model, Net)
    arch = space.from_params(trial.params)
    assert arch.text == "width=16,depth=2,kernel0=3,kernel1=5"
    counted = sum(parameter.numel() for parameter in model.parameters())
    graph = space.to_graph(arch)
    assert graph.total("params") == counted
    assert space.tasks == ("1x3x16x16",)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6), name=st.sampled_from(["build", "mixed"]))
def test_moves_stay_in_the_tree(seed: int, name: str) -> None:
    space = SPACES[name]
    rng = np.random.default_rng(seed)
    first, second = space.sample(rng), space.sample(rng)
    one, other = space.to_params(first), space.to_params(second)
    mixture = {n: (one if rng.random() < 0.5 else other)[n] for n in one}
    for arch in (first, space.mutate(first, rng), space.from_params(mixture)):
        space.validate(arch)
        params = space.to_params(arch)
        domains = space.distributions()
        assert params.keys() == domains.keys()
        assert all(contains(domains[n], v) for n, v in params.items())
        assert space.from_params(params) == space.parse(arch.text) == arch
        active = dict(arch.key)  # type: ignore[call-overload]
        assert space.from_params(active) == arch
    near = space.neighbors(first)
    assert space.mutate(first, rng) in near
    # Equal ids, and no others, have equal graphs.
    graph = space.to_graph(first)
    for arch in near[:12]:
        same = space.to_graph(arch).digest == graph.digest
        is_dropout = "dropout" in arch.text
        assert same == (arch.arch_id == first.arch_id) or is_dropout


def contains(domain: BaseDistribution, value: Any) -> bool:
    return domain._contains(domain.to_internal_repr(value))


class _Spaces(dict[str, SearchSpace]):
    def __missing__(self, name: str) -> SearchSpace:
        self[name] = nasplug.space({"build": build, "mixed": build_mixed}[name], EXAMPLE)
        return self[name]


SPACES = _Spaces()


def test_texts_of_odd_values_are_read_back(mixed: BuilderSpace) -> None:
    texts = [
        'kind="mlp, wide",width=31,dropout=0.2,bias=true',
        'kind="1",width=4,dropout=0.0,bias=false',
        "kind=null,width=256",
        "kind=conv,width=9,share=0.25,groups=1",
    ]
    assert [mixed.parse(text).text for text in texts] == texts


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("width=16", "is missing"),
        ("width=17,depth=1,kernel0=3", "not a value"),
        ("width=16,depth=1,kernel0=3,kernel1=3", "does not ask for 'kernel1'"),
        ("width=16,width=16", "is not an architecture"),
        ("wide=16", "is not an architecture"),
        ("width=16;depth=1", "not a value"),
    ],
)
def test_other_texts_are_refused(space: BuilderSpace, text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        space.parse(text)


def test_a_number_that_is_not_offered_stands_for_the_nearest(mixed: BuilderSpace) -> None:
    params = {"kind": "conv", "width": 9, "share": 0.5, "groups": 2}
    assert dict(mixed.from_params(params).key)["groups"] == 1  # type: ignore[call-overload]


def test_a_trial_without_all_parameters_is_refused(space: BuilderSpace) -> None:
    with pytest.raises(InputError, match="'kernel1' is missing"):
        space.from_params({"width": 16, "depth": 2, "kernel0": 3})


def test_a_pickled_space_is_small_and_the_same(space: BuilderSpace) -> None:
    arch = space.sample(np.random.default_rng(3))
    content = pickle.dumps(space)
    assert len(content) < 10_000
    restored = pickle.loads(content)
    assert restored.distributions() == space.distributions()
    assert restored.parse(arch.text) == arch
    assert copy.deepcopy(space).parse(arch.text) == arch


def test_random_generators_are_left_alone(space: BuilderSpace) -> None:
    torch.manual_seed(3)
    first = torch.rand(1)
    torch.manual_seed(3)
    nasplug.space(build_small, EXAMPLE).sample(np.random.default_rng(0))  # type: ignore[union-attr]
    assert torch.rand(1) == first


def test_fixed_and_restricted_parts(space: BuilderSpace) -> None:
    part = space.fix(kernel0=3).restrict(width=(16, 32), depth=[1, 2])
    assert part.distributions()["width"] == IntDistribution(16, 32, step=16)
    assert part.distributions()["depth"] == IntDistribution(1, 2)
    assert part.distributions()["kernel0"] == CategoricalDistribution((3,))
    assert isinstance(part, FiniteSpace)
    assert len(part) == 2 * (1 + 3)
    check_space(part)
    assert {dict(arch.key)["kernel0"] for arch in part} == {3}
    with pytest.raises(InputError, match="not an architecture"):
        part.validate(space.parse("width=8,depth=1,kernel0=3"))
    uneven = space.restrict(width=(8, 16, 48))
    assert uneven.distributions()["width"] == CategoricalDistribution((8, 16, 48))


def test_a_part_suggests_what_is_left(space: BuilderSpace) -> None:
    part = space.restrict(kernel0=(5,), width=(16, 32), depth=(1, 2))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    for _ in range(12):
        trial = study.ask()
        part.model(trial)
        assert trial.params["width"] in (16, 32)
        assert trial.params["kernel0"] == 5
        part.validate(part.from_params(trial.params))


def test_a_study_with_other_choices_needs_a_new_one(space: BuilderSpace) -> None:
    study = optuna.create_study()
    space.model(study.ask())
    study.tell(0, 1.0)
    # Ranges of numbers may change.
    trial = study.ask()
    space.restrict(width=(16, 24), depth=(1, 2)).model(trial)
    assert trial.params["width"] in (16, 24)
    with pytest.raises(InputError, match="begin a new study for this part"):
        space.fix(kernel0=3).model(study.ask())


@pytest.mark.parametrize(
    ("choices", "reason"),
    [
        ({"wide": (16,)}, "no parameter 'wide'"),
        ({"width": (17,)}, "17 is no value"),
        ({"width": ("16",)}, "'16' is no value"),
        ({"width": ()}, "no value of 'width' is left"),
        ({"width": 16}, "give a list"),
    ],
)
def test_parts_that_do_not_exist(space: BuilderSpace, choices: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        space.restrict(**choices)


def test_settings_that_fail_are_left_out() -> None:
    def failing(trial: Any) -> nn.Module:
        width = trial.suggest_int("width", 1, 8)
        if width % 2:
            raise ValueError("an odd width")
        return nn.Conv2d(3, width, 3)

    with pytest.warns(
        UserWarning, match=r"^4 of [78] settings .*test_space.py, line \d+.*odd width"
    ):
        space = nasplug.space(failing, EXAMPLE)
    assert [arch.text for arch in space] == [f"width={n}" for n in (2, 4, 6, 8)]  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="odd width"):
        space.from_params({"width": 3})
    rng = np.random.default_rng(0)
    arch = space.sample(rng)
    assert {space.mutate(arch, rng).text for _ in range(20)} <= {
        n.text for n in space.neighbors(arch)
    }


def test_settings_that_are_pruned_are_left_out_silently() -> None:
    def pruning(trial: Any) -> nn.Module:
        width = trial.suggest_int("width", 1, 4)
        if width == 3:
            raise optuna.TrialPruned
        return nn.Conv2d(3, width, 3)

    assert len(nasplug.space(pruning, EXAMPLE)) == 3  # type: ignore[arg-type]


def _misspelt(trial: Any) -> nn.Module:
    return nn.Conv2d(3, trial.suggest_itn("width", 1, 4), 3)


def _shapeless(trial: Any) -> nn.Module:
    return nn.Linear(trial.suggest_int("width", 1, 4), 10)


def _other_choices(trial: Any) -> nn.Module:
    deep = trial.suggest_categorical("deep", (True, False))
    width = trial.suggest_categorical("width", (8, 16) if deep else (16, 32))
    return nn.Conv2d(3, width, 3)


class _Counting:
    """A builder that decides by what it did before."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, trial: Any) -> nn.Module:
        self.calls += 1
        if self.calls % 2:
            trial.suggest_int("odd", 1, 4)
        return nn.Conv2d(3, trial.suggest_int("width", 1, 4), 3)


@pytest.mark.parametrize(
    ("builder", "reason"),
    [
        (lambda trial: nn.Conv2d(3, 8, 3), "suggests nothing"),
        (lambda trial: {"width": trial.suggest_int("width", 1, 4)}, "returns a value of type dict"),
        (_misspelt, r"test_space.py, line \d+\): AttributeError.*suggest_itn"),
        (_shapeless, r"cannot be read: linear of tensors of shapes [^/]* fails: "),
        (_other_choices, r"test_space.py, line \d+\) offers choices for the parameter 'width'"),
        (_Counting(), "must depend on the trial's suggestions alone"),
        ("my_net.py", "name it behind a colon"),
        (3, "is no function"),
    ],
)
def test_builders_that_make_no_space(builder: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        nasplug.space(builder, EXAMPLE if callable(builder) or builder == 3 else None)  # type: ignore[call-overload]


def test_networks_need_an_example() -> None:
    with pytest.raises(InputError, match="need an example"):
        nasplug.space(build_small)
    with pytest.raises(InputError, match="is not the shape"):
        nasplug.space(build_small, "1x3x")
    with pytest.raises(InputError, match="has its own"):
        nasplug.space("nb201", EXAMPLE)  # type: ignore[call-overload]


def test_parameters_that_are_found_late_count_too() -> None:
    def rare(trial: Any) -> nn.Module:
        bits = [trial.suggest_categorical(f"bit{i}", (0, 1)) for i in range(12)]
        width = trial.suggest_int("width", 4, 8) if sum(bits) == 12 else 4
        return nn.Sequential(
            *(nn.Conv2d(3, 3, 1 + 2 * bit, padding=bit) for bit in bits), nn.Conv2d(3, width, 1)
        )

    space = nasplug.space(rare, EXAMPLE)
    every = {f"bit{i}": 1 for i in range(12)}
    assert "width" not in space.distributions()
    arch = space.from_params({**every, "width": 6})
    assert dict(arch.key)["width"] == 6
    assert space.distributions()["width"] == IntDistribution(4, 8)
    assert space.from_params(space.to_params(arch)) == arch


def test_an_error_of_the_answers_is_none_of_the_builder(space: BuilderSpace) -> None:
    class Lost(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            if name == "kernel2":
                raise OSError("the storage is gone")
            return super().__getitem__(name)

    params = {"width": 48, "depth": 3, "kernel0": 7, "kernel1": 7, "kernel2": 7}
    with pytest.raises(OSError, match="is gone"):
        space.from_params(Lost(params))
    assert space.from_params(params).text.endswith("kernel2=7")


def test_threads_make_the_same_members() -> None:
    space = nasplug.space(build, EXAMPLE)
    seeds = [k % 10 for k in range(40)]
    with ThreadPoolExecutor(4) as pool:
        archs = list(pool.map(lambda seed: space.sample(np.random.default_rng(seed)), seeds))
    assert archs == [space.sample(np.random.default_rng(seed)) for seed in seeds]


def test_floats_move_by_steps(mixed: BuilderSpace) -> None:
    arch = mixed.parse("kind=conv,width=32,share=0.5,groups=1")
    shares = {dict(near.key).get("share") for near in mixed.neighbors(arch)}  # type: ignore[call-overload]
    assert 4 <= len(shares) <= 8
    assert isinstance(mixed.distributions()["share"], FloatDistribution)


def test_ranges_that_are_no_multiple_of_their_step() -> None:
    def uneven(trial: Any) -> nn.Module:
        return nn.Conv2d(3, trial.suggest_int("width", 2, 9, step=3), 3)

    space = nasplug.space(uneven, EXAMPLE)
    assert [arch.text for arch in space] == ["width=2", "width=5", "width=8"]  # type: ignore[attr-defined]
