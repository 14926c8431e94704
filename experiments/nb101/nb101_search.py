"""Time a search over all 423,624 NAS-Bench-101 cells, and check its fast latencies.

    python -m experiments.nb101.nb101_search [--hw "RTX 3090"] [--sample 3000] [--parts search]

The search is the command of a user, in a process of its own: wall clock, processor seconds, peak
memory. Then cells at random are predicted one by one by the whole-network predictor: how far the
fast model of it is off on them, and how many lie beyond the front of what the search predicted by
the predictor itself. At last a study with values of the user's own: processor time of a trial.
Writes results/nb101_search.json.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna

import nasplug
from experiments import RESULTS
from experiments.campaign import Options, read_json
from experiments.common import provenance, write_result
from nasplug.candidates.enumerated import EnumeratedCandidates
from nasplug.candidates.pool import candidates_of
from nasplug.candidates.scoring import Scoring
from nasplug.objectives import OBJECTIVES
from nasplug.pareto import pareto_mask
from nasplug.search_spaces.nb101.space import NB101
from nasplug.searching.objectives import suggest

GOALS = (OBJECTIVES["accuracy"], OBJECTIVES["latency"])
TRIALS = 60


def command(device: str) -> dict[str, Any]:
    """The command, with what it takes."""
    line = ["search", "--space", "nb101", "--hw", device, "--json"]
    with tempfile.TemporaryDirectory() as state, open(Path(state, "out"), "w+b") as out:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", "from nasplug.cli import main; main()", *line],
            env={**os.environ, "XDG_STATE_HOME": state},
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        errors = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        if status:
            raise SystemExit(errors)
        out.seek(0)
        result = json.loads(out.read())
    return {
        "command": "nasplug " + " ".join(f'"{w}"' if " " in w else w for w in line),
        "seconds": round(seconds, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mib": round(usage.ru_maxrss / 1024),
        "load_average": round(os.getloadavg()[0], 1),
        "trials": result["n_trials"],
        "front": len(result["pareto"]),
        "notes": [line for line in errors.splitlines() if "scored" in line],
    }


def truth(device: str, count: int) -> dict[str, Any]:
    """The fast model against the predictor, on cells at random."""
    space, scorer = NB101(), nasplug.load_predictor("network-latency")
    scoring = Scoring(
        space=space,
        wanted=("accuracy", "latency"),
        hardware=nasplug.hardware(device),
        constraints=(),
        batch_size=1,
        dataset="cifar10",
        predictors={},
    )
    candidates = candidates_of(scoring, GOALS, seed=0)
    assert isinstance(candidates, EnumeratedCandidates)
    rng = np.random.default_rng(1)
    others = np.setdiff1d(np.arange(len(space)), candidates.competing)
    rows = rng.choice(others, count, replace=False)
    exact = scorer.for_space(space).predict([space[int(k)] for k in rows], device).mean[:, 0]
    values = candidates.means(["accuracy", "latency"]) * [-1, 1]
    off = np.abs(values[rows, 1] / exact - 1)
    scored = values[candidates.competing]
    front = scored[pareto_mask(scored)]
    asked = np.stack([values[rows, 0], exact], axis=1)
    # By how much a cell is faster than the fastest known one that is as accurate.
    best = np.array([front[front[:, 0] <= a, 1].min(initial=np.inf) for a in asked[:, 0]])
    beyond = asked[:, 1] < best
    gain = np.where(np.isfinite(best), best / asked[:, 1] - 1, 0.0)[beyond]
    return {
        "cells": len(space),
        "predicted_exactly": len(candidates.competing),
        "sample": count,
        "mean_error": round(float(off.mean()), 5),
        "error_95": round(float(np.quantile(off, 0.95)), 5),
        "said_rms": round(float(np.sqrt(np.mean(candidates.fast_model_errors("latency") ** 2))), 5),
        "rms": round(float(np.sqrt(np.mean(np.log(values[rows, 1] / exact) ** 2))), 5),
        "beyond_the_front": int(beyond.sum()),
        "largest_gain": round(float(gain.max(initial=0.0)), 5),
    }


def studies(device: str) -> list[dict[str, Any]]:
    """Processor time of the trials of studies that learn values of the user's own."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = NB101()
    totals, weights = space.totals(), np.random.default_rng(0).normal(size=space.counts().shape[1])
    rows = []
    for values, hardware in ((1, None), (2, None), (2, device)):

        def objective(trial: optuna.Trial, values: int = values) -> Any:
            arch = space.from_params(suggest(trial, space.distributions()))
            row = space.index(arch)
            score = float(space.counts(space.codes[row : row + 1])[0] @ weights)
            return (score, float(totals["params"][row]))[:values]

        sampler = nasplug.PredictorSampler("nb101", hardware, seed=0)
        study = optuna.create_study(directions=["minimize"] * values, sampler=sampler)
        ticks = [time.process_time()]
        for _ in range(TRIALS):
            study.optimize(objective, n_trials=1)
            ticks.append(time.process_time())
        spent = np.diff(ticks)
        distinct = {space.from_params(t.params).arch_id for t in study.trials}
        rows.append(
            {
                "values": values,
                "hardware": hardware,
                "trials": TRIALS,
                "distinct": len(distinct),
                "first_seconds": round(float(spent[0]), 1),
                "milliseconds": round(1e3 * float(np.median(spent[10:]))),
            }
        )
    return rows


def main() -> None:
    parser = Options(__doc__, threads=None)
    parser.add_argument("--hw", default="RTX 3090")
    parser.add_argument("--sample", type=int, default=3_000)
    parser.add_argument("--parts", default="search,latency,studies", help="measure these again")
    options = parser.parse_args()
    result = read_json(RESULTS / "nb101_search.json")
    parts = {
        "search": lambda: command(options.hw),
        "latency": lambda: truth(options.hw, options.sample),
        "studies": lambda: studies(options.hw),
    }
    for name in options.parts.split(","):
        result[name] = parts[name]()
        print(name, result[name], flush=True)
    result |= {"hardware": options.hw, "provenance": provenance()}
    write_result("nb101_search", **result)


if __name__ == "__main__":
    main()
