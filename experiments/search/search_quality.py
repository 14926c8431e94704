"""How few trials nasplug's sampler needs, against others, on measured tables.

    python -m experiments.search.search_quality [--tasks nb201-cifar10,…] [--samplers nasplug,tpe,…]
        [--seeds 0,1,… | 0-19] [--trials 150] [--json] [--again]

Each run is one line of results/search_quality.jsonl; a run that is there already is not repeated.
With --json the runs that were asked for are printed, one line each.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from experiments.common import RESULTS
from experiments.search.search_nasplug import OURS
from experiments.search.search_rivals import RIVALS
from experiments.search.search_tasks import TASKS, Task, task

RESULT = RESULTS / "search_quality.jsonl"
SAMPLERS = {**OURS, **RIVALS}
# What --json prints.
KEYS = (
    "task",
    "sampler",
    "seed",
    "trials",
    "trials_to_optimum",
    "best",
    "hypervolume_share",
    "infeasible_share",
    "duplicates",
    "seconds_per_trial",
)
CHECKPOINTS = (10, 20, 30, 50, 75, 100, 150, 200, 250, 300, 400, 500, 1000)
# A trial's time is the mean of this many, around the hundredth or the last: some samplers work in
# batches, or refit every few trials.
TIMED, AROUND = 20, 100


def run(one: Task, sampler: str, seed: int, trials: int) -> dict[str, Any]:
    """One run, with all that is kept of it."""
    rows, ticks = [], [time.perf_counter()]
    for row in SAMPLERS[sampler](one, seed, trials):
        rows.append(row)
        ticks.append(time.perf_counter())
    done = np.array(rows[:trials], np.intp)
    curve = one.curve(done)
    found = None
    if one.optimum is not None:
        hit = np.flatnonzero(np.isclose(curve, one.optimum, rtol=0, atol=1e-9))
        found = int(hit[0]) + 1 if len(hit) else None
    first = min(AROUND, trials) - TIMED // 2
    spent = np.diff(ticks)[max(first, 0) : first + TIMED]
    best = float(curve[-1]) if one.reference is None else float(one.values[done, 0].max())
    return {
        "task": one.name,
        "sampler": sampler,
        "seed": seed,
        "trials": trials,
        "trials_to_optimum": found,
        "best": _number(best),
        "hypervolume_share": None if one.reference is None else _number(float(curve[-1])),
        "infeasible_share": _number(float(1 - one.feasible[done].mean())),
        "duplicates": int(len(done) - len(np.unique(one.identity[done]))),
        "seconds_per_trial": round(float(np.mean(spent)), 5),
        "curve": {str(n): _number(float(curve[n - 1])) for n in CHECKPOINTS if n <= trials},
    }


def _number(value: float) -> float | None:
    return round(value, 6) if np.isfinite(value) else None


def known(path: Path) -> dict[tuple[str, str, int, int], dict[str, Any]]:
    """The runs that a file holds, the last of equal ones; a torn last line is left out."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        found[row["task"], row["sampler"], row["seed"], row["trials"]] = row
    return found


def numbers(text: str) -> list[int]:
    """`0,3-5` as a list."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--samplers", default=",".join(SAMPLERS))
    parser.add_argument("--seeds", default="0-9")
    parser.add_argument("--trials", type=int, default=150)
    parser.add_argument("--json", action="store_true", help="print one line a run")
    parser.add_argument("--again", action="store_true", help="repeat runs that are there")
    parser.add_argument("--result", type=Path, default=RESULT, help="where runs are kept")
    options = parser.parse_args()
    samplers = options.samplers.split(",")
    for name in samplers:
        if name not in SAMPLERS:
            raise SystemExit(f"unknown sampler {name!r}; there are {', '.join(SAMPLERS)}")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    before = {} if options.again else known(options.result)
    if options.result.exists() and not options.result.read_bytes().endswith(b"\n"):
        with options.result.open("a", encoding="utf-8") as file:
            file.write("\n")
    for name in options.tasks.split(","):
        for sampler in samplers:
            for seed in numbers(options.seeds):
                row = before.get((name, sampler, seed, options.trials))
                if row is None:
                    row = run(task(name), sampler, seed, options.trials)
                    with options.result.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")
                shown = {key: row[key] for key in KEYS}
                if options.json:
                    print(json.dumps(shown), flush=True)
                else:
                    print(*shown.values(), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
