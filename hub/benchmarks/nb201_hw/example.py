"""TPE on the accuracies and latencies of NAS-Bench-201, against the true front."""

from __future__ import annotations

from pathlib import Path

import optuna
import optunahub

# From this registry; `optunahub.load_module("benchmarks/nb201_hw")` takes what is published.
REGISTRY = str(Path(__file__).resolve().parents[2])

if __name__ == "__main__":
    benchmark = optunahub.load_local_module("benchmarks/nb201_hw", registry_root=REGISTRY)
    problem = benchmark.Problem(dataset="cifar10", hardware="GTX 1080 Ti", max_latency_ms=8.0)
    sampler = optuna.samplers.TPESampler(seed=0)
    study = optuna.create_study(directions=problem.directions, sampler=sampler)
    study.optimize(problem, n_trials=100)
    # Trials that miss the limit are not among the best ones.
    values = [trial.values for trial in study.best_trials]
    share, cells = problem.hypervolume(values), len(problem.front())
    print(f"{share:.1%} of the hypervolume of the true front, which has {cells} cells")
