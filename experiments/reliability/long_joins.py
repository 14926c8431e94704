"""Time what a process needs to join a long study and a proposal there; size a pickled sampler.

    python -m experiments.reliability.long_joins [--trials 1000,4000] [--cases cells,beside]

Each study lies in a journal, with random NB201 cells as trials; `beside` has a learning rate and a
weight decay too. A process of its own opens it and asks for trials. `join_s` is the time from its
start to its first proposal, `proposal_ms` the median of the ten next, each in seconds of the clock
and of the processor. Written to results/long_joins.json.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from experiments import ROOT

# A process that joins a study imports what a user's process does, and no more.
Row = dict[str, Any]
PROPOSALS, PICKLED = 10, 50


def objective(trial: Any, beside: bool) -> float:
    """Logarithm of a cell's FLOPs, less the distance from a learning rate."""
    import numpy as np

    from nasplug.search_spaces import space
    from nasplug.searching.objectives import suggest

    nb201 = space("nb201")
    arch = nb201.from_params(suggest(trial, nb201.distributions()))
    value = float(np.log10(nb201.to_graph(arch).total("flops")))
    if beside:
        value -= (np.log10(trial.suggest_float("lr", 1e-4, 1.0, log=True)) + 1.5) ** 2
        trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
    return value


def write_study(path: str, trials: int, beside: bool) -> None:
    """Fill a journal with random trials, of which no two have one architecture."""
    import numpy as np
    import optuna

    from nasplug.search_spaces import space
    from nasplug.studies.storages import open_storage

    nb201: Any = space("nb201")
    order = np.random.default_rng(0).permutation(len(nb201))[:trials]
    memory = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0)
    )
    for row in order:
        memory.enqueue_trial(nb201.to_params(nb201[int(row)]))
    memory.optimize(lambda trial: objective(trial, beside), n_trials=trials)
    study = optuna.create_study(direction="maximize", study_name="long", storage=open_storage(path))
    study.add_trials(memory.trials)


def join(path: str, case: str, began: str) -> Row:
    """Join the study in this process, which has begun at a time of the clock."""
    import numpy as np
    import optuna

    import nasplug
    from nasplug.studies.storages import open_storage

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = nasplug.PredictorSampler("nb201", seed=0)
    study = optuna.load_study(study_name="long", storage=open_storage(path), sampler=sampler)
    seconds, processor = [], []

    def timed(trial: optuna.Trial) -> float:
        value = objective(trial, case == "beside")
        seconds.append(time.time())
        processor.append(time.process_time())
        return value

    study.optimize(timed, n_trials=1 + PROPOSALS)
    return {
        "join_s": round(seconds[0] - float(began), 2),
        "join_processor_s": round(processor[0], 2),
        "proposal_ms": round(1e3 * float(np.median(np.diff(seconds))), 1),
        "proposal_processor_ms": round(1e3 * float(np.median(np.diff(processor))), 1),
    }


def pickled() -> Row:
    """Bytes of a sampler after `PICKLED` trials."""
    import optuna

    import nasplug

    study = optuna.create_study(sampler=nasplug.PredictorSampler("nb201", seed=0))
    study.optimize(lambda trial: objective(trial, True), n_trials=PICKLED)
    return {"pickled_bytes": len(pickle.dumps(study.sampler))}


def alone(trials: int, case: str) -> Row:
    """Make a study, and join it in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "study.log"))
        write_study(path, trials, case == "beside")
        words = ["-m", __spec__.name, "--join", path, case, str(time.time())]
        done = subprocess.run(
            [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=True
        )
    row: Row = json.loads(done.stdout.strip().splitlines()[-1])
    return row


def main() -> None:
    warnings.simplefilter("ignore")
    if sys.argv[1:2] == ["--join"]:
        print(json.dumps(join(*sys.argv[2:])))
        return
    from experiments.campaign import Campaign, Options

    parser = Options(__doc__, threads=1, fresh=True)
    parser.add_argument("--trials", default="1000,4000")
    parser.add_argument("--cases", default="cells,beside")
    options = parser.parse_args()
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    campaign = Campaign("long_joins", ("trials", "case"), rows="rows", fresh=options.fresh)
    counts = [int(count) for count in options.trials.split(",")]
    campaign.complete([(n, case) for n in counts for case in options.cases.split(",")], alone)
    campaign.add(**pickled())


if __name__ == "__main__":
    main()
