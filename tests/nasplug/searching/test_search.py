from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState
from table_predictors import TablePredictor

from nasplug import hardware
from nasplug.pareto import pareto_mask
from nasplug.predicting.zoo import load_predictor
from nasplug.search_spaces import InputError, space
from nasplug.searching.search import SearchResult, search

SCRIPT = Path(__file__).parents[1] / "table_search.py"
NUMBER = (int, float)


@pytest.fixture(scope="module")
def tables(nb201_cache: Path) -> dict[str, TablePredictor]:
    return {q: TablePredictor(q) for q in ("accuracy", "latency")}


@pytest.fixture
def find(
    tables: dict[str, TablePredictor], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., SearchResult]:
    """`search` with measured tables for predictors, and its own state folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def found(**options: Any) -> SearchResult:
        given = {"hardware": "GTX 1080 Ti", "n_trials": 10, "storage": tmp_path / "s.journal"}
        options = {**given, **options}
        kinds = ["accuracy"] if options["hardware"] is None else ["accuracy", "latency"]
        return search(**options, predictors=[tables[kind] for kind in kinds])

    return found


def without_seconds(result: SearchResult) -> str:
    return json.dumps({**result.to_json(), "seconds": None})


def test_json_has_the_promised_form(find: Callable[..., SearchResult]) -> None:
    told = json.loads(json.dumps(find(constraints="latency<=8ms", seed=3).to_json()))
    assert list(told) == [
        *("space", "hardware", "seed", "n_trials", "objectives", "constraints"),
        *("predictor", "latency", "pareto", "hypervolume", "seconds"),
    ]
    assert (told["space"], told["hardware"], told["seed"]) == ("nb201", "GTX 1080 Ti", 3)
    assert told["n_trials"] == 10
    assert told["objectives"] == [
        {"name": "accuracy", "direction": "maximize", "unit": "%"},
        {"name": "latency", "direction": "minimize", "unit": "ms"},
    ]
    assert told["constraints"] == [
        {"name": "latency", "bound": 8.0, "unit": "ms", "probability": 0.9}
    ]
    assert set(told["predictor"]) == {"name", "sha256"}
    assert set(told["seconds"]) == {"total", "predict", "sample"}
    for row in told["pareto"]:
        assert list(row) == ["arch", "arch_id", "params", "predicted", "measured"]
        assert space("nb201").parse(row["arch"]).arch_id == row["arch_id"]
        assert isinstance(row["params"], int)
        for quantity in ("accuracy", "latency_ms"):
            interval = row["predicted"][quantity]
            assert interval["lower"] < interval["mean"] < interval["upper"]
            assert isinstance(row["measured"][quantity], NUMBER)


def test_front_is_feasible_distinct_and_sorted(find: Callable[..., SearchResult]) -> None:
    result = find(constraints="latency<=8ms", n_trials=30)
    values = np.array(
        [
            [-r["predicted"]["accuracy"]["mean"], r["predicted"]["latency_ms"]["mean"]]
            for r in result.pareto
        ]
    )
    assert pareto_mask(values).all()
    assert (np.diff(values[:, 1]) >= 0).all()
    ids = [r["arch_id"] for r in result.pareto]
    assert len(set(ids)) == len(ids)
    assert all(r["predicted"]["latency_ms"]["mean"] <= 8 for r in result.pareto)


def test_enough_trials_find_the_whole_predicted_front(find: Callable[..., SearchResult]) -> None:
    result = find(constraints="latency<=8ms", n_trials=40)
    candidates = result.candidates
    cells = [k for k in candidates.cheapest() if candidates.feasible[k]]
    values = candidates.means(("accuracy", "latency"))[cells] * [-1, 1]
    best = {candidates.architectures[k].arch_id for k in np.array(cells)[pareto_mask(values)]}
    assert {r["arch_id"] for r in result.pareto} == best


def test_again_gives_the_same_and_tries_nothing(find: Callable[..., SearchResult]) -> None:
    first = find(n_trials=12)
    again = find(n_trials=12)
    assert without_seconds(again) == without_seconds(first)
    assert len(again.study.trials) == 12


def test_more_trials_go_on_and_fewer_look_back(find: Callable[..., SearchResult]) -> None:
    short = find(n_trials=5)
    whole = find(n_trials=12)
    assert len(whole.study.trials) == 12
    fresh = find(n_trials=12, storage="memory")
    assert without_seconds(fresh) == without_seconds(whole)
    assert without_seconds(find(n_trials=5)) == without_seconds(short)


def test_seed_matters_for_a_pool_alone(find: Callable[..., SearchResult]) -> None:
    fronts = {find(n_trials=1, seed=s, storage="memory").pareto[0]["arch"] for s in range(3)}
    assert len(fronts) == 1
    pool: dict[str, Any] = {"pool_size": 20, "n_trials": 1, "storage": "memory"}
    first, second = (search("nnlqp:vgg", seed=seed, **pool).candidates.ids for seed in range(2))
    assert list(first) != list(second)


def test_study_name_depends_on_what_decides(find: Callable[..., SearchResult]) -> None:
    base: dict[str, Any] = {"n_trials": 1, "storage": "memory"}
    variants: list[dict[str, Any]] = [
        {},
        {"constraints": "latency<=9ms"},
        {"constraints": "latency<=9ms", "probability": 0.8},
        {"seed": 1},
        {"batch_size": 2},
        {"dataset": "cifar100"},
        {"hardware": "RTX 3090"},
        {"hardware": None},
    ]
    names = [find(**base, **variant).study.study_name for variant in variants]
    assert len(set(names)) == len(variants)
    assert find(**{**base, "n_trials": 2}).study.study_name == names[0]


def test_default_storage_is_said_and_lies_in_the_state_folder(
    find: Callable[..., SearchResult], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = find(n_trials=2, storage=None)
    path = tmp_path / "state" / "nasplug" / "studies" / f"{result.study.study_name}.journal"
    assert path.is_file()
    told = capsys.readouterr()
    assert str(path) in told.err
    assert told.out == ""


def test_database_storage(find: Callable[..., SearchResult], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    first = find(n_trials=2, storage=url)
    assert without_seconds(find(n_trials=2, storage=url)) == without_seconds(first)
    first.study._storage.remove_session()


def test_without_hardware_it_is_flops(find: Callable[..., SearchResult]) -> None:
    result = find(hardware=None, n_trials=8, constraints="params<=1M")
    told = result.to_json()
    assert told["hardware"] is None
    assert [o["name"] for o in told["objectives"]] == ["accuracy", "flops"]
    for row in told["pareto"]:
        assert row["predicted"]["latency_ms"] is None
        assert row["measured"]["latency_ms"] is None
        assert row["params"] <= 1_000_000
    assert "no device was given" in result.to_text()


def test_named_quantities_are_optimised_and_bounded(tmp_path: Path) -> None:
    distributions: dict[str, Any] = space("macro").distributions()
    part = space("macro").fix(**{n: d.choices[0] for n, d in list(distributions.items())[:4]})
    storage, limits = tmp_path / "s.journal", ["memory<=4MB", "size<=1.5MB"]
    wanted = ["flops:max", "memory", "params"]
    options: dict[str, Any] = {"objectives": wanted, "precision": "fp16", "storage": storage}
    found = search(part, None, limits, n_trials=9, **options)
    told = found.to_json()
    assert [(o["name"], o["direction"], o["unit"]) for o in told["objectives"]] == [
        ("flops", "maximize", "count"),
        ("memory", "minimize", "MB"),
        ("params", "minimize", "count"),
    ]
    assert [c["unit"] for c in told["constraints"]] == ["MB", "MB"]
    assert all(row["memory_mb"] <= 4 and row["size_mb"] <= 1.5 for row in told["pareto"])
    signs = np.array([objective.sign for objective in found.objectives])
    values = np.array(found.facts.values) * signs
    assert pareto_mask(values).all()
    # What three objectives find is nowhere dominated by a candidate.
    every = found.candidates.means([o.name for o in found.objectives])[found.candidates.feasible]
    both = np.vstack([values, every * signs])
    assert pareto_mask(np.round(both, 6))[: len(values)].all()
    headings = [heading for heading, _ in found.columns()]
    assert headings == ["MFLOPs (proxy)", "memory MB", "params", "size MB"]
    assert "memory: weights and the peak of the activations" in found.to_text()
    again = search(part, None, limits, n_trials=9, **options)
    assert without_seconds(again) == without_seconds(found)


def test_text_fits_a_terminal_and_has_whole_architectures(
    find: Callable[..., SearchResult],
) -> None:
    result = find(n_trials=12)
    lines = result.to_text(width=80).splitlines()
    for row in result.pareto:
        assert row["arch"] in map(str.strip, lines)
        accuracy = f"{row['predicted']['accuracy']['mean']:.2f} ("
        assert any(accuracy in line for line in lines)
    assert "…" not in "".join(lines)


def test_unmeasured_device_has_no_measured_latency(find: Callable[..., SearchResult]) -> None:
    for row in find(hardware="RTX 3090", n_trials=3).pareto:
        assert row["measured"]["latency_ms"] is None
        assert row["measured"]["accuracy"] is not None


def test_zero_shot_is_said_but_not_in_the_json(
    find: Callable[..., SearchResult], tables: dict[str, TablePredictor]
) -> None:
    measured = find(n_trials=2, storage="memory")
    tables["latency"].zero_shot = True
    try:
        result = find(hardware="RTX 3090", n_trials=2)
    finally:
        tables["latency"].zero_shot = False
    assert result.zero_shot
    assert not measured.zero_shot
    assert "zero-shot: RTX 3090 was not measured at batch 1;" in result.to_text()
    assert result.to_json().keys() == measured.to_json().keys()
    assert "zero-shot" not in measured.to_text()


@pytest.mark.parametrize(
    ("constraints", "name"),
    [
        (["latency<=1ms"], "latency"),
        (["params<=1k"], "params"),
        (["flops<=1k"], "flops"),
        (["accuracy>=99%"], "accuracy"),
        (["accuracy>=93%", "latency<=5ms"], "accuracy"),
    ],
)
def test_impossible_bound_names_one_that_works(
    find: Callable[..., SearchResult], constraints: list[str], name: str
) -> None:
    with pytest.raises(InputError, match="no nb201 architecture meets") as caught:
        find(constraints=constraints)
    possible = str(caught.value).rpartition(" ")[2]
    assert possible.startswith(name)
    others = [c for c in constraints if not c.startswith(name)]
    assert find(constraints=[possible, *others], n_trials=1).pareto


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"space": "nb202"}, "unknown search space 'nb202'; known: nb201"),
        ({"hardware": "RTX 9999"}, "'RTX 9999' is not in the catalogue"),
        ({"constraints": "latency<=5"}, "has no unit"),
        ({"constraints": "latency<=5kg"}, "unknown unit 'kg'"),
        ({"constraints": "fast please"}, "has no <= or >="),
        ({"n_trials": 0}, "number of trials 0"),
        ({"batch_size": -1}, "batch size -1"),
        ({"probability": 1.5}, "not strictly between 0 and 1"),
        ({"seed": -1}, "seed -1"),
        ({"dataset": "mnist"}, "unknown image set 'mnist'"),
        ({"storage": "nodriver://user:secret@host/db"}, "cannot open storage 'nodriver://…@host"),
        ({"storage": None, "study_name": "../up"}, "cannot be the name of a file"),
        ({"runtime": "TensorRT"}, "'table-latency' has no choice of runtimes"),
        ({"evaluate": "table"}, "leave the accuracy predictor 'table-accuracy' out"),
    ],
)
def test_bad_input(find: Callable[..., SearchResult], options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        find(**options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_scorers_must_be_complete(tables: dict[str, TablePredictor]) -> None:
    class Nameless:
        targets = ("latency",)

    with pytest.raises(InputError, match="is not a predictor; give a name of the zoo"):
        search(predictors=[Nameless()], storage="memory")  # type: ignore[list-item]
    latency = tables["latency"]
    with pytest.raises(InputError, match="two predictors of latency were given, 'table-latency'"):
        search(hardware="GTX 1080 Ti", predictors=[latency, latency], storage="memory")
    with pytest.raises(InputError, match="'table-latency' predicts latency; name a device"):
        search(predictors=[latency], storage="memory")


def test_unusable_storage(find: Callable[..., SearchResult], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a folder"):
        find(storage=tmp_path)
    with pytest.raises(InputError, match="cannot write storage"):
        find(storage=tmp_path / "file" / "s.journal")
    for content in (
        b"plain text",
        b"text\nand more\n",
        b"[]\n",
        b'{"a": 1}\n',
        b"\xff\x00\n\x01\n",
    ):
        (tmp_path / "other").write_bytes(content)
        with pytest.raises(InputError, match="is not the journal of a study"):
            find(storage=tmp_path / "other")
        assert (tmp_path / "other").read_bytes() == content


def test_damaged_journal(find: Callable[..., SearchResult], tmp_path: Path) -> None:
    find(n_trials=2)
    lines = (tmp_path / "s.journal").read_bytes().splitlines(keepends=True)
    (tmp_path / "s.journal").write_bytes(b"".join([*lines[:5], b'{"op_co\n', *lines[5:]]))
    with pytest.raises(InputError, match="is damaged"):
        find(n_trials=2)


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_journal_cut_anywhere_goes_on(find: Callable[..., SearchResult], tmp_path: Path) -> None:
    whole = find(n_trials=4)
    content = (tmp_path / "s.journal").read_bytes()
    for size in np.linspace(0, len(content), 10, dtype=int):
        (tmp_path / "s.journal").write_bytes(content[:size])
        assert without_seconds(find(n_trials=4)) == without_seconds(whole), size


def test_study_of_other_settings_is_refused_before_anything_is_scored(
    find: Callable[..., SearchResult], tables: dict[str, TablePredictor]
) -> None:
    find(n_trials=1, study_name="mine")
    calls = tables["latency"].calls
    with pytest.raises(
        InputError, match=r"'mine' exists .* other settings: seed \(0 there, 1 here\);"
    ):
        find(n_trials=1, study_name="mine", seed=1)
    device = r"hardware \(GTX 1080 Ti there, RTX 3090 here\)"
    with pytest.raises(InputError, match=device):
        find(n_trials=1, study_name="mine", hardware="RTX 3090")
    assert tables["latency"].calls == calls


def run(tmp_path: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = ["search", "--hw", "GTX 1080 Ti", "--n-trials", "12", "--json"]
    return subprocess.run(
        [sys.executable, str(SCRIPT), *given, "--storage", str(tmp_path / "p.journal"), *options],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def told(process: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert process.returncode == 0, process.stderr
    return {**json.loads(process.stdout), "seconds": None}


def test_processes_agree(find: Callable[..., SearchResult], tmp_path: Path) -> None:
    here = {**find(n_trials=12).to_json(), "seconds": None}
    assert told(run(tmp_path, PYTHONHASHSEED="1")) == here


def test_interrupted_and_killed_runs_go_on(
    find: Callable[..., SearchResult], tmp_path: Path
) -> None:
    stopped = run(tmp_path, DIE_AFTER_TRIALS="4", DIE_HOW="interrupt")
    assert stopped.returncode == 130
    assert stopped.stderr.splitlines()[-1] == (
        "nasplug: stopped after 4 of 12 trials; the study is stored, "
        "and the same command continues it"
    )
    assert stopped.stdout == ""
    assert run(tmp_path, DIE_AFTER_TRIALS="3", DIE_HOW="kill").returncode == 9
    here = {**find(n_trials=12).to_json(), "seconds": None}
    assert told(run(tmp_path)) == here


def test_two_processes_never_try_one_architecture_twice(
    find: Callable[..., SearchResult], tmp_path: Path
) -> None:
    command = [sys.executable, str(SCRIPT), "search", "--hw", "GTX 1080 Ti", "--n-trials", "20"]
    command += ["--json", "--storage", str(tmp_path / "s.journal")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    assert [len(p.communicate()[0]) > 0 and p.returncode for p in both] == [0, 0]
    # Both may begin the last trial; the later one then ends without an architecture.
    trials = find(n_trials=20).study.get_trials(states=[TrialState.COMPLETE])
    ids = [t.user_attrs["nasplug"]["arch_id"] for t in trials]
    assert len(trials) >= 20
    assert len(set(ids)) == len(ids)


def test_the_zoo_on_a_device_never_measured(nb201_cache: Path, tmp_path: Path) -> None:
    def command(*words: str) -> Any:
        script = (
            f"import sys; sys.argv = ['nasplug', *{words!r}]; import nasplug.cli as c; c.main()"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    words = ("search", "--hw", "RTX 3090", "--constraint", "latency<=20ms", "--n-trials", "20")
    first, second = (
        command(*words, "--json", "--storage", str(tmp_path / f"{k}.journal")) for k in "ab"
    )
    assert {**first, "seconds": None} == {**second, "seconds": None}
    row = first["pareto"][0]
    (alone,) = command("predict", row["arch"], "--hw", "RTX 3090", "--json")
    assert alone["zero_shot"]
    for end, value in row["predicted"]["latency_ms"].items():
        assert alone["latency_ms"][end] == pytest.approx(value, rel=1e-3)
    for end, value in row["predicted"]["accuracy"].items():
        assert alone["accuracy"]["cifar10"][end] == pytest.approx(value, rel=1e-3)


def test_the_zoo_keeps_a_limit_on_a_measured_device(nb201_cache: Path) -> None:
    result = search("nb201", "GTX 1080 Ti", "latency<=6.93ms", storage="memory")
    assert not result.zero_shot
    truth = [row["measured"]["latency_ms"] for row in result.pareto]
    assert len(truth) >= 5
    assert np.mean(np.array(truth) <= 6.93) >= 0.9


@pytest.mark.parametrize("device", ["RTX 3090", "GTX 1080 Ti"])
def test_the_zoo_finds_one_of_the_best(nb201_cache: Path, device: str) -> None:
    result = search("nb201", device, storage="memory")
    assert max(row["measured"]["accuracy"] for row in result.pareto) >= 94.2
    values = np.array(
        [
            [-row["predicted"]["accuracy"]["mean"], row["predicted"]["latency_ms"]["mean"]]
            for row in result.pareto
        ]
    )
    assert pareto_mask(values).all()
    assert len({row["arch_id"] for row in result.pareto}) == len(result.pareto)


def test_a_cell_that_ignores_its_input_is_never_returned(nb201_cache: Path) -> None:
    # On boards such cells are measured as the fastest of all.
    result = search("nb201", "Raspberry Pi 4", storage="memory", n_trials=40)
    assert min(row["measured"]["accuracy"] for row in result.pareto) > 11
    alone = [r for r in result.candidates.scores.connected if not r]
    assert len(alone) == 341


def test_a_predictor_of_ones_own(nb201_cache: Path, tmp_path: Path) -> None:
    zoo = load_predictor("nb201-accuracy")
    zoo.save(tmp_path / "mine")
    own = search(n_trials=3, storage="memory", predictors=[tmp_path / "mine.json"])
    assert own.predictor["name"] == "mine"
    shipped = search(n_trials=3, storage="memory")
    assert own.pareto == shipped.pareto
    with pytest.raises(InputError, match="two predictors of accuracy were given"):
        search(storage="memory", predictors=[zoo, tmp_path / "mine"])
    with pytest.raises(
        InputError, match=r"predictors must be a list such as \['mine'\], not 'mine'"
    ):
        search(storage="memory", predictors="mine")


def test_the_call_is_repeated_where_python_can_read_it(find: Callable[..., SearchResult]) -> None:
    from nasplug.searching.search import _call_of

    usual = {name: p.default for name, p in inspect.signature(search).parameters.items()}
    own = replace(hardware("RTX 3090"), name="mine")
    for change, said in (
        ({}, "nasplug.search('nb201')"),
        ({"hardware": "RTX 3090", "seed": 0}, "nasplug.search('nb201', 'RTX 3090')"),
        ({"hardware": hardware("T4"), "progress": False}, "nasplug.search('nb201', 'T4')"),
        ({"constraints": "latency<=5ms"}, "nasplug.search('nb201', constraints='latency<=5ms')"),
        ({"storage": "mysql://me:secret@host/db"}, "nasplug.search('nb201', storage='mysql://…@"),
        ({"runtime": "tensorrt", "threads": 2}, "nasplug.search('nb201', runtime='tensorrt', thr"),
        ({"hardware": own}, ""),
        ({"evaluate": print}, ""),
        ({"predictors": [object()]}, ""),
    ):
        call = _call_of(usual | change)
        assert call.startswith(said)
        assert bool(call) == bool(said)
    assert find(n_trials=1, storage="memory").call == ""  # its predictors are objects


def test_one_network_for_two_devices(find: Callable[..., SearchResult]) -> None:
    given: dict[str, Any] = {
        "hardware": ["GTX 1080 Ti", "Pixel 3"],
        "constraints": ["latency@1080ti<=6ms", "latency@Pixel 3<=40ms"],
    }
    result = find(**given)
    told = result.to_json()
    assert (told["hardware"], told["devices"]) == ("GTX 1080 Ti", ["GTX 1080 Ti", "Pixel 3"])
    names = [objective["name"] for objective in told["objectives"]]
    assert names == ["accuracy", "latency@GTX 1080 Ti", "latency@Pixel 3"]
    for row in told["pareto"]:
        predicted = row["predicted"]
        assert predicted["latency_ms"] == predicted["latency_ms@GTX 1080 Ti"]
        assert predicted["latency_ms@Pixel 3"]["mean"] <= 40
    assert "on GTX 1080 Ti and Pixel 3, batch 1" in result.heading()
    assert "latency ms on Pixel 3" in result.to_text()
    # The study is finished, so the same call reads its result.
    assert without_seconds(find(**given)) == without_seconds(result)
    with pytest.raises(InputError, match="other settings"):
        find(
            **(
                given
                | {
                    "hardware": ["GTX 1080 Ti"],
                    "constraints": (),
                    "study_name": result.study.study_name,
                }
            )
        )


def test_a_trial_tells_latencies_on_two_devices(find: Callable[..., SearchResult]) -> None:
    def evaluate(arch: Any) -> dict[str, float]:
        return {"accuracy": 90.0, "latency_ms": 3.0, "latency_ms@Pixel 3": 30.0}

    result = search(
        "nb201",
        ["GTX 1080 Ti", "Pixel 3"],
        "latency@Pixel 3<=40ms",
        evaluate=evaluate,
        n_trials=2,
        storage="memory",
    )
    assert [o.name for o in result.objectives] == [
        *("accuracy", "latency_ms@GTX 1080 Ti", "latency_ms@Pixel 3"),
    ]
    assert result.study.trials[0].values == [90.0, 3.0, 30.0]
