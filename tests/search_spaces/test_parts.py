"""Parts of the package's spaces: members, parameters and proposals."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import IntDistribution

import nasplug
from nasplug.search_spaces import FiniteSpace, InputError, space
from nasplug.testing import check_space

# Name of a space -> choices that leave a part of it.
PARTS: dict[str, dict[str, tuple[Any, ...]]] = {
    "nb201": {"op_0_1": ("none",), "op_0_2": ("skip_connect", "nor_conv_3x3")},
    "nb101": {"edge_0_1": (1,), "op_1": ("conv3x3-bn-relu", "maxpool3x3")},
    "fbnet": {},
    "macro": {},
    "accel": {},
    "ofa": {},
}
# Kinds of spaces: of cells, of cells by their numbers, of networks.
QUICK = {"nb201", "nb101", "fbnet"}


def choices(name: str) -> dict[str, tuple[Any, ...]]:
    """Some values of the first two parameters with a choice."""
    if PARTS[name]:
        return PARTS[name]
    domains = space(name).distributions()
    arch = space(name).sample(np.random.default_rng(1))
    params = space(name).to_params(arch)
    names = [n for n, d in domains.items() if not d.single()][:2]
    return {n: (params[n],) for n in names}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in PARTS],
)
def test_parts_keep_the_contract(name: str) -> None:
    part = space(name).restrict(**choices(name))
    check_space(part, count=2)
    rng = np.random.default_rng(0)
    for _ in range(5):
        arch = part.mutate(part.sample(rng), rng)
        assert all(part.to_params(arch)[n] in v for n, v in choices(name).items())
        space(name).validate(arch)


def test_a_part_of_a_finite_space_is_listed() -> None:
    part = space("nb201").fix(op_0_1="none", op_0_2="skip_connect")
    assert isinstance(part, FiniteSpace)
    assert len(part) == len(list(part)) == 5**4
    assert part.name == "nb201"


def test_parts_of_parts() -> None:
    part = space("nb201").fix(op_0_1="none").restrict(op_0_2=("none", "avg_pool_3x3"))
    assert len(part) == 2 * 5**4  # type: ignore[arg-type]
    with pytest.raises(InputError, match="is no value of 'op_0_1'"):
        part.fix(op_0_1="skip_connect")


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        ({"op": ("none",)}, "no parameter 'op'"),
        ({"op_0_1": ("conv",)}, "'conv' is no value"),
        ({"op_0_1": "none"}, "give a list"),
        ({"op_0_1": ()}, "is left"),
    ],
)
def test_what_is_no_part(choice: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        space("nb201").restrict(**choice)


def test_a_sampler_proposes_members_of_the_part_alone() -> None:
    part = space("nb201").fix(op_0_1="none", op_1_2="none", op_0_2="nor_conv_3x3")
    sampler = nasplug.PredictorSampler(
        part, hardware="RTX 3090", constraints="latency<=5ms", seed=0
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)

    def objective(trial: optuna.Trial) -> float:
        params = {
            n: trial.suggest_categorical(n, d.choices) for n, d in part.distributions().items()
        }  # type: ignore[attr-defined]
        return part.to_graph(part.from_params(params)).total("flops")

    study.optimize(objective, n_trials=15)
    archs = [part.from_params(trial.params) for trial in study.trials]
    assert len({arch.arch_id for arch in archs}) == 15
    named = [trial.user_attrs["nasplug"]["arch"] for trial in study.trials]
    assert named == [arch.text for arch in archs]


def test_numbers_stay_numbers() -> None:
    part = space("nb101").fix(edge_0_1=1)
    assert part.distributions()["edge_0_1"] == IntDistribution(1, 1)
    assert part.distributions()["edge_0_2"] == IntDistribution(0, 1)
