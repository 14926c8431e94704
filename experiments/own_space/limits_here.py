"""Whether a limit on the latency holds on this machine's processor, as the study measures it.

    python -m experiments.own_space.limits_here [--trials 40] [--seeds 0,1,2] [--device "EPYC 7763"]

Networks of own_networks.py, 32×32 images, eager PyTorch on one thread. The limit is the 30 %
quantile of the latencies of 20 random networks. The value of a trial is the logarithm of its
parameters, which pushes towards the limit; nothing is trained. `LatencyCallback` calibrates the
device after every five measurements. A latency is the processor's time of a pass, which other
programs on the machine do not stretch, and of 15 passes after 3 the median.
results/limits_here.json keeps each trial's measured and predicted latency.
"""

from __future__ import annotations

import math
import sys
import time
from typing import Annotated, Any

import numpy as np
import optuna
import torch
import typer

import nasplug
from experiments.common import write_result
from experiments.own_space.own_networks import EXAMPLE, build

RANDOM, QUANTILE, EVERY = 20, 0.3, 5


def measured(model: torch.nn.Module) -> float:
    """Median latency of a module in ms."""
    model.eval()
    times = []
    with torch.inference_mode():
        for _ in range(18):
            start = time.thread_time()
            model(EXAMPLE)
            times.append(time.thread_time() - start)
    return 1000 * float(np.median(times[3:]))


def random_latencies(seed: int) -> list[float]:
    """Latencies of random networks, which set the limit."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1_000 + seed))
    return [measured(build(study.ask())) for _ in range(RANDOM)]


def run(device: str, seed: int, trials: int) -> dict[str, Any]:
    """One study."""
    limit = float(np.quantile(random_latencies(seed), QUANTILE))
    space = nasplug.space(build, example=EXAMPLE)
    sampler = nasplug.PredictorSampler(
        space,
        hardware=device,
        constraints=f"latency<={limit:.4g}ms",
        seed=seed,
        pool_size=1_000,
        warn_independent_sampling=False,
    )
    watch = nasplug.LatencyCallback(device, space, every=EVERY)
    study = optuna.create_study(direction="maximize", sampler=sampler)

    def objective(trial: optuna.Trial) -> float:
        model = space.model(trial)
        trial.set_user_attr("latency_ms", measured(model))
        return math.log10(sum(parameter.numel() for parameter in model.parameters()))

    study.optimize(objective, n_trials=trials, callbacks=[watch])
    rows = watch.rows(study)
    met = [bool(row["measured"] <= limit) for row in rows]  # type: ignore[operator]
    inside = [
        bool(row["predicted_lower"] <= row["measured"] <= row["predicted_upper"])  # type: ignore[operator]
        for row in rows
    ]
    return {
        "seed": seed,
        "limit_ms": round(limit, 3),
        "met": float(np.mean(met)),
        "met_after_calibration": float(np.mean(met[EVERY:])),
        "inside_after_calibration": float(np.mean(inside[EVERY:])),
        "trials": [{k: v if v is None else round(v, 4) for k, v in row.items()} for row in rows],
    }


def main(
    trials: Annotated[int, typer.Option(help="Trials of a study.")] = 40,
    seeds: Annotated[str, typer.Option(help="Seeds, with commas between them.")] = "0,1,2",
    device: Annotated[str, typer.Option(help="This machine's processor.")] = "EPYC 7763",
) -> None:
    """Run a study for each seed."""
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    runs = []
    for seed in map(int, seeds.split(",")):
        runs.append(run(device, seed, trials))
        print({k: v for k, v in runs[-1].items() if k != "trials"}, file=sys.stderr)
    write_result("limits_here", device=device, quantile=QUANTILE, every=EVERY, runs=runs)


if __name__ == "__main__":
    typer.run(main)
