"""Memory and time of studies of thousands of trials in memory.

    python -m experiments.reliability.long_studies [--cases nb201,nb201-limits,search]
        [--trials 2000] [--seeds 0,1]

Each case runs in a process of its own: `nb201`, `PredictorSampler` with two values that are looked
up in a benchmark's table, of which it learns; `nb201-limits`, one value and a limit that trials
tell; `search`, `nasplug search --evaluate table` on a measured device; or the name of a space of a
pool, such as `fbnet`, with counts for values. Memory is what the process has more than after its
first trial, at the end and at most; time is that of the processor, per trial, over the hundred
trials before 400 and before the end. Each row is kept in results/long_studies.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import optuna
import psutil

import nasplug
from experiments import ROOT
from experiments.campaign import Campaign, Options
from experiments.search.search_tasks import task
from nasplug.searching.objectives import suggest

EARLY, OVER = 400, 100
# Case -> a search over a table.
TASKS = {"nb201": "nb201-cifar10-gtx1080ti", "nb201-limits": "nb201-cifar10-gtx1080ti-8.5ms"}


def of_table(case: str) -> tuple[Any, tuple[Any, ...], Callable[[optuna.Trial], Any]]:
    """Space, directions and objective of a search over a table."""
    search = task(TASKS[case])
    return search.space, search.directions, search.objective


def of_counts(name: str) -> tuple[Any, tuple[Any, ...], Callable[[optuna.Trial], Any]]:
    """Space, directions and objective of networks that are counted."""
    space = nasplug.search_spaces.space(name)
    distributions = space.distributions()

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        graph = space.to_graph(space.from_params(suggest(trial, distributions)))
        return graph.total("flops"), graph.total("params")

    return space, ("maximize", "minimize"), objective


class Watch:
    """Notes memory and processor time after each trial."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self.memory: list[int] = []
        self.seconds: list[float] = []

    def __call__(self, *_: Any) -> None:
        """A trial has ended."""
        self.memory.append(self._process.memory_info().rss)
        self.seconds.append(time.process_time())

    def per_trial(self, end: int) -> float:
        """Milliseconds of a trial, over the hundred before one."""
        return 1e3 * (self.seconds[end - 1] - self.seconds[end - 1 - OVER]) / OVER

    def row(self) -> dict[str, Any]:
        """Memory that was added after the first trial, and the time of a trial early and late."""
        first, count = self.memory[0], len(self.memory)
        return {
            "trials": count,
            "grown_mb": round((self.memory[-1] - first) / 1e6, 1),
            "grown_most_mb": round((max(self.memory) - first) / 1e6, 1),
            "ms_at_400": round(self.per_trial(EARLY), 2),
            "ms_at_end": round(self.per_trial(count), 2),
        }


def run(case: str, trials: int, seed: int) -> dict[str, Any]:
    """Run a case in this process."""
    watch = Watch()
    if case == "search":
        # The trials of a search are told to its callback by the study alone.
        before = optuna.Study.optimize

        def optimize(study: optuna.Study, *given: Any, **options: Any) -> None:
            before(study, *given, **options)
            watch()

        optuna.Study.optimize = optimize  # type: ignore[method-assign]
        options = {"evaluate": "table", "storage": "memory", "seed": seed, "progress": False}
        nasplug.search("nb201", "GTX 1080 Ti", n_trials=trials, **options)  # type: ignore[arg-type]
    else:
        space, directions, objective = of_table(case) if case in TASKS else of_counts(case)
        sampler = nasplug.PredictorSampler(
            space, seed=seed, equivalents="apart", warn_independent_sampling=False
        )
        study = optuna.create_study(directions=list(directions), sampler=sampler)
        study.optimize(objective, n_trials=trials, callbacks=[watch])
    return {"case": case, "seed": seed, **watch.row()}


def alone(case: str, trials: int, seed: int) -> dict[str, Any]:
    """Run a case in a process of its own."""
    words = ["-m", __spec__.name, "--one", case, "--trials", str(trials), "--seeds", str(seed)]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    row: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    row["times"] = round(row["ms_at_end"] / row["ms_at_400"], 2)
    return row


def main() -> None:
    parser = Options(__doc__, threads=None, seeds="0,1")
    parser.add_argument("--cases", default="nb201,nb201-limits,search")
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--one", help="a case to run in this process")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    if options.one:
        print(json.dumps(run(options.one, options.trials, options.seeds[0])))
        return
    data = ("nb201-accuracy", "nb201-latency")
    campaign = Campaign("long_studies", ("case", "seed", "trials"), data, rows="rows")
    for case in options.cases.split(","):
        for seed in options.seeds:
            campaign.add(alone(case, options.trials, seed))


if __name__ == "__main__":
    main()
