"""Count the trials that nasplug's sampler needs, against others, on measured tables.

    python -m experiments.search.search_quality [--tasks nb201-cifar10,…] [--samplers nasplug,tpe,…]
        [--seeds 0,1,… | 0-19] [--trials 150] [--until-found] [--json] [--fresh]

With --until-found a run ends with the trial that finds what is searched for: the rest of its curve
is level, and shares of its trials are of those that were made.
Each run is one line of results/search_quality.jsonl; a run that is there already is not repeated.
With --json the runs that were asked for are printed, one line each.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from experiments import RESULTS
from experiments.campaign import Options, announce
from experiments.search.search_nasplug import OURS
from experiments.search.search_rivals import RIVALS
from experiments.search.search_tasks import TASKS, Task, task
from experiments.shared_campaign import append_line, read_lines

RESULT = RESULTS / "search_quality.jsonl"
SAMPLERS = {**OURS, **RIVALS}
# What --json prints.
KEYS = (
    *("task", "sampler", "seed", "trials", "trials_to_optimum", "best", "hypervolume_share"),
    *("infeasible_share", "duplicates", "seconds_per_trial"),
)
CHECKPOINTS = (10, 20, 30, 50, 75, 100, 150, 200, 250, 300, 400, 500, 1000)
# A trial's time is the mean of this many, around the hundredth or the last: some samplers work in
# batches, or refit every few trials.
TIMED, AROUND = 20, 100


def run(
    search: Task, sampler: str, seed: int, trials: int, until_found: bool = False
) -> dict[str, Any]:
    """Do a run; its row."""
    rows, ticks, cpu_ticks = [], [time.perf_counter()], [time.process_time()]
    is_found = _found(search)
    for row in SAMPLERS[sampler](search, seed, trials):
        rows.append(row)
        ticks.append(time.perf_counter())
        cpu_ticks.append(time.process_time())
        if until_found and is_found[row]:
            break
    done = np.array(rows[:trials], np.intp)
    reached = {str(n): search.reached(done[:n]) for n in CHECKPOINTS if n <= trials}
    last = search.reached(done)
    hit = np.flatnonzero(is_found[done])
    first_hit = int(hit[0]) + 1 if len(hit) else None
    first = min(AROUND, len(done)) - TIMED // 2
    spent = np.diff(ticks)[max(first, 0) : first + TIMED]
    best = (
        last if search.reference is None else float(search.losses[done, 0].min() * search.sign[0])
    )
    return {
        "task": search.name,
        "sampler": sampler,
        "seed": seed,
        "trials": trials,
        "trials_made": len(done),
        "trials_to_optimum": first_hit,
        "best": _number(best),
        "hypervolume_share": None if search.reference is None else _number(last),
        "infeasible_share": _number(float(1 - search.feasible[done].mean())),
        "duplicates": int(len(done) - len(np.unique(search.identity[done]))),
        "seconds_per_trial": round(float(np.mean(spent)), 5),
        "last_cpu_seconds": round(float(np.mean(np.diff(cpu_ticks)[-TIMED:])), 5),
        "curve": {n: _number(value) for n, value in reached.items()},
    }


def _found(search: Task) -> NDArray[np.bool_]:
    """Mask of the architectures that end a search, `(n,)`; none with two objectives."""
    if (goal := search.goal) is None:
        return np.zeros(len(search.values), np.bool_)
    return np.asarray(search.feasible & (search.losses[:, 0] <= goal * search.sign[0] + 1e-9))


def _run(row: dict[str, Any]) -> tuple[Any, ...]:
    """The fields that tell runs apart."""
    return tuple(row[key] for key in ("task", "sampler", "seed", "trials"))


def _number(value: float) -> float | None:
    return round(value, 6) if np.isfinite(value) else None


def main() -> None:
    parser = Options(__doc__, threads=None, seeds="0-9", fresh=True)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--samplers", default=",".join(SAMPLERS))
    parser.add_argument("--trials", type=int, default=150)
    parser.add_argument("--until-found", action="store_true", help="end a run when it has found")
    parser.add_argument("--json", action="store_true", help="print one line a run")
    parser.add_argument("--result", type=Path, default=RESULT, help="where runs are kept")
    options = parser.parse_args()
    samplers = options.samplers.split(",")
    for name in samplers:
        if name not in SAMPLERS:
            raise SystemExit(f"unknown sampler {name!r}; there are {', '.join(SAMPLERS)}")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    runs = list(product(options.tasks.split(","), samplers, options.seeds, [options.trials]))
    stored = [(_run(row), row) for row in read_lines(options.result)]
    announce(options.result, set(runs), [key for key, _ in stored], options.fresh)
    before = {} if options.fresh else dict(stored)
    dropped = [json.dumps(row) for key, row in stored if options.fresh and key in runs]
    for name, sampler, seed, trials in runs:
        row = before.get((name, sampler, seed, trials))
        if row is None:
            row = run(task(name), sampler, seed, trials, options.until_found)
            append_line(options.result, row, dropped)
            dropped = []
        shown = {key: row[key] for key in KEYS}
        if options.json:
            print(json.dumps(shown), flush=True)
        else:
            print(*shown.values(), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
