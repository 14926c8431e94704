from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from table_predictors import TablePredictor

from nasplug import hardware
from nasplug.predicting.zoo import ArchitecturePredictor
from nasplug.predictors import registry
from nasplug.predictors.features.settings import Setting
from nasplug.results.result import SearchResult
from nasplug.search_spaces import Architecture, space
from nasplug.searching.kept_result import KEPT
from nasplug.searching.search import search
from nasplug.studies.storages import open_storage

Find = Callable[..., SearchResult]


@pytest.fixture(scope="module")
def tables(nb201_cache: Path) -> dict[str, TablePredictor]:
    return {q: TablePredictor(q) for q in ("accuracy", "latency")}


@pytest.fixture
def find(tables: dict[str, TablePredictor], tmp_path: Path) -> Find:
    def found(**options: Any) -> SearchResult:
        given = {"n_trials": 6, "storage": tmp_path / "s.journal", "constraints": "latency<=8ms"}
        predictors = list(tables.values())
        return search("nb201", "GTX 1080 Ti", **(given | options), predictors=predictors)

    return found


def shown(result: SearchResult) -> str:
    return f"{result.to_json() | {'seconds': None}}\n{result.to_text()}"


def test_a_finished_study_scores_nothing_until_candidates_are_read(
    find: Find, tables: dict[str, TablePredictor], capsys: pytest.CaptureFixture[str]
) -> None:
    first = find()
    calls = tables["latency"].calls
    capsys.readouterr()
    again = find()
    assert shown(again) == shown(first)
    assert tables["latency"].calls == calls
    assert capsys.readouterr().err == "nasplug: loading predictors\n"
    assert (again.trials, again.front) == (first.trials, first.front)
    assert len(again.candidates) == 15_625
    assert tables["latency"].calls > calls


def test_more_trials_and_trials_of_others_are_counted(find: Find) -> None:
    find(n_trials=3)
    more = find(n_trials=6)
    assert more.n_trials == 6
    fewer = find(n_trials=3)
    assert fewer.n_trials == 3
    fewer.study.enqueue_trial(fewer.study.trials[0].params)
    assert find(n_trials=3).n_trials == 3
    assert shown(find(n_trials=6)) == shown(more)


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: "text",
        lambda record: {**record, "fields": {**record["fields"], "n_trials": 7}},
        lambda record: {key: value for key, value in record.items() if key != "facts"},
        lambda record: {**record, "sha256": None},
    ],
)
def test_a_damaged_record_is_ignored(
    find: Find, tables: dict[str, TablePredictor], damage: Callable[[Any], Any]
) -> None:
    first = find()
    calls = tables["latency"].calls
    record = first.study.user_attrs[KEPT]
    first.study.set_user_attr(KEPT, damage(record))
    again = find()
    assert tables["latency"].calls > calls
    assert shown(again) == shown(first)
    assert again.study.user_attrs[KEPT] == record


def test_an_observed_search_is_kept_too(tmp_path: Path) -> None:
    def give(arch: Architecture) -> dict[str, Any]:
        return {"accuracy": 50.0 + arch.text.count("nor_conv_3x3")}

    options: dict[str, Any] = {"n_trials": 5, "storage": tmp_path / "s.journal", "evaluate": give}
    first, again = search("nb201", **options), search("nb201", **options)
    assert "total" in again.seconds
    assert again.seconds["predict"] == 0.0
    assert shown(again) == shown(first)
    assert (again.trials, again.front) == (first.trials, first.front)


SCRIPT = """
import sys
import nasplug
options = {"n_trials": 2, "pool_size": 20, "proxy": "flops", "storage": sys.argv[1]}
result = nasplug.search("nnlqp:alexnet", "RTX 3090", **options)
text = result.to_text()
assert not {"torch", "dgl", "pandas"} & {*sys.modules}, "the study was scored again"
print("to be scored", file=sys.stderr)
assert len(result.candidates) >= 20
print(text)
"""


def test_a_finished_study_loads_no_torch(tmp_path: Path) -> None:
    path = tmp_path / "s.journal"
    options: dict[str, Any] = {"n_trials": 2, "pool_size": 20, "proxy": "flops", "storage": path}
    first = search("nnlqp:alexnet", "RTX 3090", **options)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{first.to_text()}\n"
    # On a busy machine the seconds that it takes follow.
    assert re.sub(r", \d+ s", "", done.stderr) == "to be scored\nnasplug: loading predictors\n"
    (study,) = open_storage(path).get_all_studies()
    assert study.user_attrs[KEPT]["trials"] == {"COMPLETE": 2}


def test_a_finished_study_restores_no_predictor_of_a_file(
    nb201_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = space("nb201")
    archs = [cells.sample(np.random.default_rng(k)) for k in range(60)]
    latencies = np.array([1 + cells.to_graph(arch).total("flops") / 1e7 for arch in archs])
    predictor = ArchitecturePredictor("mine", cells, registry.create("latency-gp"))
    predictor.fit(archs, latencies[:, None], [Setting(hardware("GTX 1080 Ti"), 1)])
    predictor.save(tmp_path / "mine")
    options: dict[str, Any] = {
        **{"n_trials": 3, "storage": tmp_path / "s.journal", "constraints": "latency<=8ms"},
        "predictors": [tmp_path / "mine.safetensors"],
    }
    first = search("nb201", "GTX 1080 Ti", **options)
    restored = []

    def restore(*given: Any) -> Any:
        restored.append(given)
        return registry_restore(*given)

    registry_restore = registry.restore
    monkeypatch.setattr(registry, "restore", restore)
    again = search("nb201", "GTX 1080 Ti", **options)
    assert shown(again) == shown(first)
    assert not restored
    assert len(again.candidates) == 15_625
    assert len(restored) == 1


def test_candidates_are_scored_without_progress_if_so_asked(
    find: Find, capsys: pytest.CaptureFixture[str]
) -> None:
    find()
    again = find(progress=False)
    capsys.readouterr()
    assert len(again.candidates) == 15_625
    assert not capsys.readouterr().err
    loud = find()
    capsys.readouterr()
    assert len(loud.candidates) == 15_625
    assert "nasplug: loading predictors" in capsys.readouterr().err
