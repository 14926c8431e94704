"""A worker of a shared study, for tests that start and kill processes.

    python study_worker.py STORAGE STUDY TRIALS [SEED [SECONDS]]

Says `started NUMBER` when a trial is under way, which takes so many seconds.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator
from itertools import islice

import optuna

from nasplug import PredictorSampler
from nasplug.search_spaces import Architecture
from nasplug.search_spaces.nb201 import NB201 as AllCells
from nasplug.searching.objectives import suggest
from nasplug.studies.storages import open_storage


class SomeCells(AllCells):
    """So few that a worker has them in a moment."""

    def __len__(self) -> int:
        return 625

    def __iter__(self) -> Iterator[Architecture]:
        return islice(super().__iter__(), 0, None, 25)


NB201 = SomeCells()
# On a busy machine a shorter one might be missed by a worker that is alive.
HEARTBEAT = 60


def objective(trial: optuna.trial.Trial, seconds: float = 0.0) -> float:
    """Parameters of the network: known at once, and the same everywhere."""
    arch = NB201.from_params(suggest(trial, NB201.distributions()))
    print("started", trial.number, flush=True)
    time.sleep(seconds)
    return NB201.to_graph(arch).total("params")


def join(
    storage: str, name: str, seed: int | None = None, heartbeat: int = HEARTBEAT
) -> optuna.Study:
    """Open a study, or make it, with nasplug's sampler."""
    return optuna.create_study(
        study_name=name,
        storage=open_storage(storage, heartbeat),
        sampler=PredictorSampler(NB201, seed=seed, warn_independent_sampling=False),
        direction="maximize",
        load_if_exists=True,
    )


def main() -> None:
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage, name, trials, *rest = sys.argv[1:]
    study = join(storage, name, int(rest[0]) if rest else None)
    seconds = float(rest[1]) if len(rest) > 1 else 0.0
    study.optimize(lambda trial: objective(trial, seconds), n_trials=int(trials))


if __name__ == "__main__":
    main()
