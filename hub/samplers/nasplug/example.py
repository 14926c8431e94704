"""Twenty trials of NAS-Bench-201, whose measured accuracies and latencies stand for training."""

from __future__ import annotations

from pathlib import Path

import optuna
import optunahub

# Both packages from this registry; `optunahub.load_module(NAME)` takes those that are published.
REGISTRY = str(Path(__file__).resolve().parents[2])

if __name__ == "__main__":
    nasplug = optunahub.load_local_module("samplers/nasplug", registry_root=REGISTRY)
    benchmark = optunahub.load_local_module("benchmarks/nb201_hw", registry_root=REGISTRY)
    problem = benchmark.Problem(dataset="cifar10", hardware="GTX 1080 Ti")
    sampler = nasplug.PredictorSampler("nb201", equivalents="apart", seed=0)
    study = optuna.create_study(directions=problem.directions, sampler=sampler)
    study.optimize(problem, n_trials=20)
    for trial in study.best_trials:
        accuracy, latency = trial.values
        print(f"{accuracy:.2f} % in {latency:.2f} ms: {trial.user_attrs['nasplug']['arch']}")
    found = problem.hypervolume([trial.values for trial in study.trials])
    print(f"{found:.1%} of the hypervolume of the true front")
