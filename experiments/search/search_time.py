"""Time a trial of nasplug's sampler, at several numbers of trials in the study.

    python -m experiments.search.search_time [--trials 2000]

Processor time of one thread for one trial, its median over the twenty before each checkpoint,
with the study in memory. Writes results/search_time.json.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import optuna

from experiments.campaign import Options
from experiments.common import write_result
from experiments.search.search_nasplug import OURS
from experiments.search.search_tasks import task

TASKS = ("nb201-cifar10", "nb201-cifar10-gtx1080ti")
CHECKPOINTS = (20, 50, 100, 200, 500, 1000, 2000)
BEFORE = 20


def main() -> None:
    parser = Options(__doc__, threads=None)
    parser.add_argument("--trials", type=int, default=2000)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rows: list[dict[str, Any]] = []
    for name in TASKS:
        search, ticks = task(name), [time.process_time()]
        for _ in OURS["nasplug"](search, 0, options.trials):
            ticks.append(time.process_time())
        spent = np.diff(ticks)
        rows.append(
            {
                "task": name,
                "values": len(search.directions),
                "first_seconds": round(float(spent[0]), 3),
                "milliseconds": {
                    str(n): round(float(1e3 * np.median(spent[n - BEFORE : n])), 1)
                    for n in CHECKPOINTS
                    if n <= options.trials
                },
            }
        )
        print(rows[-1], flush=True)
        write_result("search_time", "nb201-accuracy", rows=rows)


if __name__ == "__main__":
    main()
