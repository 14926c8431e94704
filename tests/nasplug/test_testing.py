"""The contract tests: kept by nasplug's own spaces and predictors, and failed by broken ones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasplug import predictors, space
from nasplug.predictors import Prediction
from nasplug.search_spaces import Architecture, Graph
from nasplug.search_spaces import names as space_names
from nasplug.testing import check_predictor, check_space
from nasplug.testing.expectations import expect_refusal

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
sys.path.append(str(EXAMPLES))

from my_predictor import Ridge  # noqa: E402
from my_space import CHOICES, STAGES, MySpace  # noqa: E402

TINY = {"epochs": 1, "dim": 16}
# Name -> its space and the options that make a fit short.
PREDICTORS: dict[str, tuple[str, dict[str, Any]]] = {
    "accuracy-gp": ("macro", {}),
    "cell-gp": ("nb101", {}),
    "gradient-boosting": ("nb201", {"rounds": 2}),
    "latency-gp": ("macro", {}),
    "ledgformer": ("nb201", {"members": 1, **TINY}),
    "narformer-v2": ("nb201", {"num_layers": 1, "calibration_share": 0.3, **TINY}),
    "nasplug": ("nb201", {}),
    "nnformer": ("nb201", {"num_layers": 1, "calibration_share": 0.3, **TINY}),
    "nnlp": ("nb201", {"kind": "latency", "calibration_share": 0.3, **TINY}),
    "path-gp": ("nb201", {}),
    "random-forest": ("nb201", {"trees": 50}),
    "transformer-ensemble": ("nb201", {"members": 1, "targets": ("a", "b"), **TINY}),
}


@pytest.mark.parametrize("name", space_names())
def test_own_spaces_keep_the_contract(name: str) -> None:
    check_space(space(name), count=2)


def test_every_registered_predictor_is_checked() -> None:
    assert sorted(PREDICTORS) == predictors.names()


@pytest.mark.parametrize("name", PREDICTORS)
def test_own_predictors_keep_the_contract(name: str) -> None:
    where, options = PREDICTORS[name]
    check_predictor(lambda: predictors.create(name, **options), space=where, count=40)


def test_the_documented_ones_keep_the_contract() -> None:
    check_space(MySpace())
    check_predictor(Ridge)


# --- broken spaces -----------------------------------------------------------------------------


class IgnoresGenerator(MySpace):
    def sample(self, rng: np.random.Generator) -> Architecture:
        return super().sample(np.random.default_rng())


class GlobalGenerator(MySpace):
    def sample(self, rng: np.random.Generator) -> Architecture:
        np.random.rand()  # noqa: NPY002
        return super().sample(rng)


class OneArchitecture(MySpace):
    def sample(self, rng: np.random.Generator) -> Architecture:
        return self.parse("skip|skip|conv1x1")


class ForgetsAParameter(MySpace):
    def to_params(self, arch: Architecture) -> dict[str, Any]:
        return {name: v for name, v in super().to_params(arch).items() if name != "stage3"}


class ReadsAnotherArchitecture(MySpace):
    def from_params(self, params: Any) -> Architecture:
        return super().from_params({**params, "stage1": "skip"})


class MutatesFar(MySpace):
    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        turned = [CHOICES[(CHOICES.index(choice) + 1) % 3] for choice in arch.key]
        return self.parse("|".join(turned))


class NamesNoTask(MySpace):
    tasks = ()


class TakesAnyTask(MySpace):
    def to_graph(self, arch: Architecture, task: str | None = None) -> Graph:
        return super().to_graph(arch)


class TakesStrangers(MySpace):
    def validate(self, arch: Architecture) -> None:
        pass


class FailsOnStrangers(MySpace):
    def parse(self, text: str) -> Architecture:
        if not text:
            raise KeyError(text)
        return super().parse(text)


class NoFiniteCosts(MySpace):
    def to_graph(self, arch: Architecture, task: str | None = None) -> Graph:
        graph = super().to_graph(arch, task)
        return Graph(graph.ops, graph.edges, graph.attributes + np.inf)


class PromisesNetworks(MySpace):
    whole_networks = True


class LacksANeighbor(MySpace):
    def neighbors(self, arch: Architecture) -> list[Architecture]:
        return super().neighbors(arch)[:-1]


def odd(method: str, answer: Any) -> type[MySpace]:
    """A space whose method or property gives something of another type."""
    is_property = method in ("name", "tasks", "parts", "standards", "standard")
    return type("Odd", (MySpace,), {method: answer if is_property else lambda *_, **__: answer})


class HasNoName(MySpace):
    @property
    def name(self) -> str:  # type: ignore[override]
        raise AttributeError("name")


class FailsInGraphs(MySpace):
    def to_graph(self, arch: Architecture, task: str | None = None) -> Graph:
        return {}["graph"]  # type: ignore[no-any-return]


class AssertsInside(MySpace):
    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        raise AssertionError("of its own")


class HasAListAsKey(MySpace):
    def parse(self, text: str) -> Architecture:
        arch = super().parse(text)
        return Architecture(arch.space, arch.text, arch.arch_id, list(arch.key))


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (IgnoresGenerator, "sample returns different architectures for equal generators"),
        (GlobalGenerator, "sample uses a global random generator"),
        (OneArchitecture, "sample always returns the same architecture"),
        (ForgetsAParameter, "to_params has other parameters than distributions"),
        (ReadsAnotherArchitecture, "from_params does not undo to_params"),
        (MutatesFar, "which is not among the neighbors"),
        (NamesNoTask, "tasks is not a tuple of at least one name"),
        (TakesAnyTask, "an unknown task in to_graph is accepted"),
        (TakesStrangers, "a foreign architecture in validate is accepted"),
        (FailsOnStrangers, "raises KeyError instead of InputError"),
        (NoFiniteCosts, "an attribute of a graph is not finite"),
        (PromisesNetworks, "to_network does not begin with Input"),
        (LacksANeighbor, "neighbors lacks .*, the copy with stage3 ="),
        (HasNoName, "name raises AttributeError"),
        (FailsInGraphs, "to_graph raises KeyError"),
        (AssertsInside, "mutate raises AssertionError for valid input: of its own"),
        (HasAListAsKey, "key of an architecture cannot be hashed: unhashable type"),
        (odd("name", 3), "name returns int, but must return str"),
        (odd("tasks", ["cifar10"]), "tasks returns list, but must return tuple"),
        (odd("tasks", (1,)), "tasks returns 1 in a tuple; its items must be str"),
        (odd("parts", None), "parts returns NoneType, but must return Mapping"),
        (odd("standards", {"best": "skip|skip|skip"}), "'skip|skip|skip', from standards"),
        (odd("distributions", None), "distributions returns NoneType, but must return dict"),
        (odd("distributions", {}), "distributions has no parameter"),
        (
            odd("distributions", {"stage1": CHOICES}),
            "for stage1, which is not an Optuna distribution",
        ),
        (odd("sample", "skip|skip|skip"), "sample returns str, but must return Architecture"),
        (odd("sample", None), "sample returns NoneType, but must return Architecture"),
        (odd("mutate", None), "mutate returns NoneType, but must return Architecture"),
        (odd("neighbors", None), "neighbors returns NoneType, but must return list"),
        (
            odd("neighbors", ["skip"]),
            "neighbors returns 'skip' in a list; its items must be Architecture",
        ),
        (odd("from_params", None), "from_params returns NoneType, but must return Architecture"),
        (odd("to_params", None), "to_params returns NoneType, but must return dict"),
        (
            odd("to_params", {stage: [] for stage in STAGES}),
            r"to_params has stage1 = \[\], which",
        ),
        (odd("parse", "skip"), "sample returns str, but must return Architecture"),
        (odd("to_graph", None), "to_graph returns NoneType, but must return Graph"),
        (odd("to_graphs", None), "to_graphs returns NoneType, but must return list"),
        (odd("to_graphs", []), "to_graphs does not return one graph per architecture"),
        (odd("normal_form", None), "normal_form returns NoneType, but must return Graph"),
        (odd("family_of", None), "family_of returns NoneType, but must return str"),
    ],
)
def test_broken_spaces_fail(broken: type[MySpace], words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check_space(broken())


def test_no_space_at_all_fails() -> None:
    for stranger in (None, "nb201", MySpace):
        with pytest.raises(AssertionError, match="is not a SearchSpace"):
            check_space(stranger)  # type: ignore[arg-type]


# --- broken predictors -------------------------------------------------------------------------


class NoTargets(Ridge):
    targets = property(lambda self: (), lambda self, value: None)


class NeedsNoFit(Ridge):
    def predict(self, graphs: Any, hardware: Any = None, batch_size: int = 1) -> Prediction:
        if self.ops is None:
            raise RuntimeError("not fitted")
        return super().predict(graphs)


class TakesTooFewTargets(Ridge):
    def fit(self, graphs: Any, targets: Any, hardware: Any = None) -> None:
        super().fit(graphs[: len(targets)], targets)


class Random(Ridge):
    def fit(self, graphs: Any, targets: Any, hardware: Any = None) -> None:
        super().fit(graphs, targets)
        self.weights = self.weights * np.random.default_rng().uniform(1, 2)


class ReadsTheBatch(Ridge):
    def counts(self, graphs: Any) -> Any:
        counts = super().counts(graphs)
        return counts - counts[:1]


class NoSpread(Ridge):
    def predict(self, graphs: Any, hardware: Any = None, batch_size: int = 1) -> Prediction:
        made = super().predict(graphs)
        return Prediction(
            made.targets,
            made.units,
            made.center,
            0 * made.spread,
            made.levels,
            made.residuals,
            made.log_scale,
        )


class ForgetsWeights(Ridge):
    @classmethod
    def from_checkpoint(cls, checkpoint: Any, backend: str = "auto") -> Any:
        made = super().from_checkpoint(checkpoint, backend)
        made.weights = 0 * made.weights
        return made


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (dict, "lacks targets, fit or predict"),
        (NoTargets, "targets is not a tuple"),
        (NeedsNoFit, "predict before fit raises RuntimeError"),
        (TakesTooFewTargets, "fit with fewer targets than graphs is accepted"),
        (Random, "two fits on the same graphs give different predictions"),
        (ReadsTheBatch, "depends on the order of the graphs"),
        (NoSpread, "spread is not positive"),
        (ForgetsWeights, "predictions after saving and loading"),
    ],
)
def test_broken_predictors_fail(broken: Any, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check_predictor(broken)


def test_a_refusal_is_one_sentence() -> None:
    from nasplug import InputError

    def refuse() -> None:
        raise InputError("first line\nsecond line")

    with pytest.raises(AssertionError, match="x is not one sentence"):
        expect_refusal(refuse, "x")
