"""Several processes on one journal file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import optuna
from optuna.trial import TrialState

from nasplug.search_spaces import space
from nasplug.studies import open_storage

WORKERS, EACH = 2, 7
NB201 = space("nb201")
WORKER = """
import sys
import optuna
from nasplug import PredictorSampler, space
from nasplug.objectives import suggest
from nasplug.studies import open_storage

nb201 = space("nb201")

def objective(trial):
    graph = nb201.to_graph(nb201.from_params(suggest(trial, nb201.distributions())))
    return graph.total("params")

study = optuna.load_study(
    study_name="shared", storage=open_storage(sys.argv[1]), sampler=PredictorSampler(nb201)
)
study.optimize(objective, n_trials=int(sys.argv[2]))
"""


def test_workers_share_a_journal_without_repeats(tmp_path: Path) -> None:
    path = str(tmp_path / "shared.journal")
    study = optuna.create_study(
        study_name="shared", storage=open_storage(path), direction="maximize"
    )
    workers = [
        subprocess.Popen([sys.executable, "-W", "ignore", "-c", WORKER, path, str(EACH)])
        for _ in range(WORKERS)
    ]
    assert [worker.wait(timeout=300) for worker in workers] == [0] * WORKERS
    study = optuna.load_study(study_name="shared", storage=open_storage(path))
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * (WORKERS * EACH)
    ids = [NB201.from_params(trial.params).arch_id for trial in study.trials]
    assert len(set(ids)) == WORKERS * EACH
