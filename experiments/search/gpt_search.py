"""Search the measured language models of HW-GPT-Bench, with nasplug and with other samplers.

    python -m experiments.search.gpt_search [--samplers nasplug,random,…] [--scales s,m]
        [--seeds 0-9] [--results FILE] [--claims FOLDER] [--fresh]

The tasks are those of `OBJECTIVES` and `LIMITS` below; see docs/results/sampler.md. The most
important runs come first. Each run is one line of results/gpt_search.jsonl. Several processes may
share the work: each run is done by one of them, and one that ended early is taken up by another.
The sampler morea is that of Syne Tune, which is not among the package's requirements.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import optuna

from experiments import RESULTS
from experiments.campaign import Options, Row
from experiments.common import RUNS
from experiments.search import search_quality
from experiments.search.search_tasks import task
from experiments.shared_campaign import SharedCampaign, SharedRun

RESULT = RESULTS / "gpt_search.jsonl"
OBJECTIVES = ("h100-latency", "h100-latency-energy", "rtx3080-latency-energy-memory")
LIMITS = "h100-limits"
TRIALS, LIMIT_TRIALS = 200, 100
# Samplers of several values, in the order of their runs; a slow one has fewer seeds.
SAMPLERS = (
    *("nasplug", "random", "random-members", "nsga2", "nsga3", "tpe", "local-search", "morea"),
    *("gp", "forest"),
)
# Samplers that keep limits.
KEEPING = (
    *("nasplug", "nasplug-shipped", "random", "random-members", "nsga2", "tpe", "evolution"),
    *("gp", "forest"),
)
FEW_SEEDS = {"gp": 3, "forest": 3}


@dataclass(frozen=True)
class GPTRun(SharedRun):
    """A search.

    Attributes:
        model: The sampler.
        task: The task.
        seed: Its seed.
        trials: Its trials.
    """

    task: str
    seed: int
    trials: int

    @property
    def title(self) -> str:
        """Name of the run."""
        return f"{self.model}, {self.task}, {self.seed}"


def runs(samplers: list[str], scales: list[str], seeds: list[int]) -> Iterator[GPTRun]:
    """All runs, the most important ones first."""
    for sampler in samplers:
        for seed in seeds[: FEW_SEEDS.get(sampler)]:
            for scale in scales:
                if sampler in SAMPLERS:
                    for name in OBJECTIVES:
                        yield GPTRun(sampler, f"gpt-{scale}-{name}", seed, TRIALS)
                if sampler in KEEPING:
                    yield GPTRun(sampler, f"gpt-{scale}-{LIMITS}", seed, LIMIT_TRIALS)


def measure(run: GPTRun, folder: Path) -> Row:
    """Do a run; its row."""
    row = search_quality.run(task(run.task), run.model, run.seed, run.trials)
    return {"model": run.model, **row}


def main() -> None:
    parser = Options(__doc__, seeds="0-9", fresh=True)
    names = list(dict.fromkeys([*SAMPLERS, *KEEPING]))
    parser.add_argument("--samplers", default=",".join(names))
    parser.add_argument("--scales", default="s,m")
    parser.add_argument("--results", type=Path, default=RESULT)
    parser.add_argument("--claims", type=Path, default=RUNS / "gpt_search")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    asked = list(runs(options.samplers.split(","), options.scales.split(","), options.seeds))
    campaign = SharedCampaign(options.results, options.claims, measure, options.fresh)
    for row in campaign.finish_all(asked):
        print(row["task"], row["model"], row["seed"], row["curve"], flush=True)


if __name__ == "__main__":
    main()
