"""Sections of the pages on spaces of a user's own."""

from __future__ import annotations

from statistics import mean, median
from typing import Any

from experiments.tables import Row, grouped, load, merged, section, table, table_of


@section("builder-speed")
def builder_speed() -> str:
    result = load("builder_speed")
    rows = [row | {"count": int(row["candidates"])} for row in result["rows"]]
    times = table_of(
        "candidates | graphs | seconds | processor time, s",
        "{count:,} | {cache} | {total_s:.1f} | {processor_s:.1f}",
        rows,
    )
    operators = mean(row["operators"] for row in rows)
    return (
        f"{times}\n\nNetworks of {operators:.0f} operators on average, "
        f"{rows[0]['parameters']:.0f} parameters, latencies on {result['device']}; two threads of "
        f"a machine that did other work too, the median of {result['repeats']} runs. *Empty "
        "cache*: no graph was read before; *full cache*: the same candidates in another process."
    )


@section("limits-here")
def limits_here() -> str:
    result = load("limits_here")
    rows = [
        [
            str(run["seed"]),
            f"{run['limit_ms']:.2f}",
            f"{run['met']:.0%}",
            f"{run['met_after_calibration']:.0%}",
            f"{run['inside_after_calibration']:.0%}",
        ]
        for run in result["runs"]
    ]
    return (
        table(
            "seed | limit, ms | proposals within it | after the first calibration | "
            "measured inside the predicted interval, then",
            rows,
        )
        + f"\n\n{len(result['runs'][0]['trials'])} trials each, device {result['device']} by its "
        f"data sheet at first, calibrated after every {result['every']} measurements."
    )


# --- real trainings ---

SAMPLERS = ("nasplug", "TPE", "GP", "NSGA-II", "random", "nasplug, Hyperband", "TPE, Hyperband")


def _study_rows(result: Row) -> tuple[list[Row], float]:
    """A row of each study of the complete seeds, and the common budget in seconds.

    Before a seed is complete, all finished studies count.
    """
    studies = result["studies"]
    names = result["columns"]
    chosen = [s for s in studies if s["seed"] in result["complete_seeds"]] or studies
    for study in chosen:
        study["rows"] = [dict(zip(names, trial, strict=True)) for trial in study["trials"]]
    seconds = {id(study): sum(row["seconds"] for row in study["rows"]) for study in chosen}
    random = [seconds[id(study)] for study in chosen if study["sampler"] == "random"]
    budget = median(random or seconds.values())
    top = max(_best(s["rows"], result, float("inf"))["validation"] for s in chosen)
    rows = []
    for study in chosen:
        trials = study["rows"]
        half = trials[: len(trials) // 2]
        last = _best(trials, result, float("inf"))
        rows.append(
            {
                "sampler": study["sampler"],
                "half_trials": 100 * _best(half, result, float("inf"))["validation"],
                "all_trials": 100 * last["validation"],
                "half_seconds": 100 * _best(trials, result, budget / 2)["validation"],
                "all_seconds": 100 * _best(trials, result, budget)["validation"],
                "test": 100 * (last["test"] or 0.0),
                "regret": 100 * (top - last["validation"]),
                "met": mean(row["latency_ms"] <= result["limit_ms"] for row in trials),
                "complete": sum(row["epochs"] == result["epochs"] for row in trials),
                "seconds": seconds[id(study)],
                "sampling": study["sampling_s"],
            }
        )
    rows.sort(key=lambda row: SAMPLERS.index(row["sampler"]))
    return rows, budget


def _best(trials: list[Row], result: Row, budget: float) -> Row:
    """The trained network of the best validation accuracy that a budget of seconds has ended."""
    best: Row = {"validation": result["chance"], "test": None}
    spent = 0.0
    for trial in trials:
        spent += trial["seconds"]
        is_trained = trial["epochs"] == result["epochs"] and spent <= budget
        if is_trained and trial["validation"] > best["validation"]:
            best = trial
    return best


@section("own-space-trainings")
def own_space_trainings() -> str:
    result = load("own_space")
    rows, budget = _study_rows(result)
    means = [merged(group) for group in grouped(rows, "sampler").values()]
    trials = len(result["studies"][0]["trials"])
    columns = {
        "half_trials": f"after {trials // 2} trials",
        "all_trials": f"after {trials} trials",
        "half_seconds": f"after {budget / 2:.0f} s",
        "all_seconds": f"after {budget:.0f} s",
    }
    best = table_of(
        ["sampler", "studies", *columns.values(), "test accuracy, last", "regret, last"],
        "{sampler} | {count} | "
        + " | ".join(f"{{{column}:±.1f}}" for column in columns)
        + " | {test:±.1f} | {regret:.1f}",
        means,
    )
    costs = table_of(
        "sampler | trials within the limit | trained in full | training, s | sampler, s",
        "{sampler} | {met:.0%} | {complete:.0f} | {seconds:.0f} | {sampling:.0f}",
        means,
    )
    return (
        f"{best}\n\n{costs}\n\n{_complete(result)} Limit {result['limit_ms']:.2f} ms a batch of "
        f"{result['batch_size']}, the {result['quantile']:.0%} quantile of random networks. "
        f"{_training(result)} {_ahead(means, columns)}"
    )


def _ahead(means: list[Row], columns: dict[str, str]) -> str:
    """Sentence on the columns in which another sampler's mean is not below nasplug's."""
    scores = {row["sampler"]: {name: mean(row[name]) for name in columns} for row in means}
    ours = scores.pop("nasplug", {})
    behind = []
    for name, title in columns.items():
        others = [other for other, row in scores.items() if row[name] >= ours.get(name, 0.0)]
        if others:
            behind.append(f"{title} ({'; '.join(others)})")
    if not behind:
        return "nasplug without a pruner has the highest mean in each of the four columns."
    return f"**Where nasplug without a pruner is not ahead:** {', '.join(behind)}."


def _complete(result: Row) -> str:
    seeds = len(result["complete_seeds"])
    studies = len(result["studies"])
    if not seeds:
        return f"Finished studies: {studies}; no seed has all samplers yet."
    return f"Means ± standard deviations over {seeds} of the 5 seeds." if seeds > 1 else "One seed."


def _training(result: Row) -> str:
    columns: list[str] = result["columns"]
    at = {name: columns.index(name) for name in ("seconds", "epochs")}
    trials: list[list[Any]] = [trial for study in result["studies"] for trial in study["trials"]]
    seconds = [t[at["seconds"]] for t in trials if t[at["epochs"]] == result["epochs"]]
    return f"A training takes {median(seconds):.1f} s of one thread in the median."


@section("own-space-line")
def own_space_line() -> str:
    result = load("own_space")
    rows, _ = _study_rows(result)
    values = {name: merged(group) for (name,), group in grouped(rows, "sampler").items()}
    names = [name for name in SAMPLERS if name in values]
    ends = "; ".join(f"{name} {values[name]['all_trials']:.1f} %" for name in names)
    count = len(result["complete_seeds"])
    seeds = f"means over {count} seed{'s' * (count > 1)}" if count else "one seed, unfinished"
    return (
        f"Real trainings under a limit measured here, the best accuracy of 60 trials: {ends} "
        f"({seeds}). [The figures](results/sampler.md#real-trainings) say what was measured."
    )


@section("curve-searches")
def curve_searches() -> str:
    result = load("curve_searches")
    rows = []
    for run in result["runs"]:
        best = {
            f"{column}_{part}": best_after(run, result["budget"] * share, k)
            for column, k in (("validation", 1), ("test", 2))
            for part, share in (("half", 0.5), ("all", 1.0))
        }
        regrets = {
            f"regret_{part}": result["optimum"] - best[f"validation_{part}"]
            for part in ("half", "all")
        }
        rows.append(run | best | regrets)
    body = [merged(group) for group in grouped(rows, "pruner", "sampler").values()]
    return table_of(
        f"pruner | sampler | seeds | regret after {result['budget'] // 2:,} epochs | "
        f"after {result['budget']:,} | test accuracy | trials | complete",
        "{pruner} | {sampler} | {count} | {regret_half:±.2f} | {regret_all:±.2f} | "
        "{test_all:±.2f} | {trials:.0f} | {complete:.0f}",
        body,
    )


def best_after(run: Row, epochs: float, column: int = 1) -> float | None:
    """The best validation accuracy of a search after some epochs, or its test accuracy."""
    seen = [step[column] for step in run["best"] if step[0] <= epochs]
    return seen[-1] if seen else None
