"""Pruned and failed trials teach, and repeated measurements are averaged."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from nasplug.sampling.learning_curves import estimated_finals, line_estimate
from nasplug.sampling.sampler import PredictorSampler
from nasplug.sampling.trial_model import Observations, TrialModel
from nasplug.sampling.tried import Tried
from nasplug.search_spaces import space
from nasplug.searching.objectives import suggest

NB201 = space("nb201")
ARCH = NB201[0]  # type: ignore[index]


def flops_of(trial: optuna.Trial) -> float:
    arch = NB201.from_params(suggest(trial, NB201.distributions()))
    return float(np.log10(NB201.to_graph(arch).total("flops")))


def reported(trial: optuna.Trial) -> float:
    """A value that is reported before it is returned."""
    value = flops_of(trial)
    trial.report(value, 0)
    if trial.should_prune():
        raise optuna.TrialPruned
    return value


def ids(study: optuna.Study) -> list[str]:
    return [NB201.from_params(trial.params).arch_id for trial in study.trials]


def test_a_line_of_the_complete_trials_tells_how_others_would_have_ended() -> None:
    before = np.array([10.0, 12.0, 14.0, 20.0, 30.0, 31.0])
    shown = np.array([15.0, 40.0])
    estimate, variance = line_estimate(before, before / 2 - 1, shown)
    # The slope is pulled towards 1, a little.
    assert estimate == pytest.approx(shown / 2 - 1, abs=1)
    assert (variance < 4).all()
    assert variance[1] > variance[0]
    exact, none = line_estimate(before, before - 3, shown)
    assert exact == pytest.approx(shown - 3)
    assert none == pytest.approx(0, abs=1e-9)
    # A falling line is noise.
    flat, _ = line_estimate(np.repeat(before, 9), -np.repeat(before, 9), shown)
    assert flat[0] == flat[1]


def test_pruned_trials_get_losses_and_other_trials_stay() -> None:
    complete = [Tried(ARCH, (v,), {}, False, curve={1: v + 2, 3: v}) for v in (1.0, 2.0, 4.0, 5.0)]
    pruned = Tried(ARCH, None, {}, False, curve={1: 9.0})
    running = Tried(ARCH, None, {}, True, curve={1: 9.0})
    failed = Tried(ARCH, None, {}, False, failed=True, curve={1: 9.0})
    result = estimated_finals([*complete, pruned, running, failed])
    assert list(result[:4]) == complete
    assert result[4].losses == pytest.approx((7.0,))
    assert (result[5].losses, result[6].losses) == (None, None)
    # One without reports showed nothing; and without pruned trials nothing is made anew.
    silent = [*complete, Tried(ARCH, None, {}, False)]
    assert estimated_finals(silent) is silent


def test_without_a_complete_trial_the_last_report_counts() -> None:
    tried = [Tried(ARCH, None, {}, False, curve={0: v}) for v in (3.0, 1.0)]
    result = estimated_finals(tried)
    assert [trial.losses for trial in result] == [(3.0,), (1.0,)]
    assert all(trial.noise > 0 for trial in result)


@pytest.mark.parametrize("seed", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in (1, 2))])
def test_a_median_pruner_stops_few_trials_of_what_was_pruned_before(seed: int) -> None:
    study = optuna.create_study(
        direction="maximize",
        sampler=PredictorSampler("nb201", seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5),
    )
    study.optimize(reported, n_trials=40)
    assert study.best_value == pytest.approx(8.34266, abs=1e-5)
    # 10, 9 and 5 when pruned trials taught nothing.
    assert len(study.get_trials(states=(TrialState.COMPLETE,))) >= 20
    assert len(set(ids(study))) == 40


PRUNERS: dict[str, Any] = {
    "halving": optuna.pruners.SuccessiveHalvingPruner,
    "hyperband": lambda: optuna.pruners.HyperbandPruner(1, 9, 3),
    "patient": lambda: optuna.pruners.PatientPruner(optuna.pruners.MedianPruner(2), patience=1),
    "wilcoxon": lambda: optuna.pruners.WilcoxonPruner(n_startup_steps=2),
}


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("name", PRUNERS)
def test_every_pruner_goes_with_the_sampler(name: str) -> None:
    def curve(trial: optuna.Trial) -> float:
        value = flops_of(trial)
        for step in range(1, 10):
            trial.report(value - 1 / step, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return value

    study = optuna.create_study(
        direction="maximize",
        sampler=PredictorSampler("nb201", seed=0),
        pruner=PRUNERS[name](),
    )
    study.optimize(curve, n_trials=16)
    # Hyperband shows a sampler the trials of one bracket; yet none is repeated.
    assert len(set(ids(study))) == 16
    assert study.best_value > 8.1


@pytest.mark.slow
def test_a_prior_goes_with_hyperband() -> None:
    study = optuna.create_study(
        direction="maximize",
        sampler=PredictorSampler("nb201", seed=0, prior="zoo"),
        pruner=optuna.pruners.HyperbandPruner(1, 9, 3),
    )
    study.optimize(reported, n_trials=2)
    assert "nasplug:prior" in study.user_attrs


def test_a_noisy_estimate_counts_less_than_a_measurement() -> None:
    x = np.linspace(0, 6, 60)[:, None]
    rows = np.arange(0, 60, 6)
    losses = np.sin(x[rows])
    losses[4] += 3
    none = np.empty(0, np.intp)
    noise = np.zeros(len(rows))
    noise[4] = 2.0
    blocks = {"structure": x, "counts": x, "both": x}
    sure = TrialModel(blocks, {}).posterior(Observations(rows, losses, {}, none))
    unsure = TrialModel(blocks, {}).posterior(Observations(rows, losses, {}, none, noise=noise))
    assert unsure.mean[rows[4], 0] < sure.mean[rows[4], 0]


def test_failures_turn_a_study_away_from_their_like() -> None:
    def fragile(trial: optuna.Trial) -> float:
        value = flops_of(trial)
        if value > 8.1:
            raise ValueError("out of memory")
        return value

    study = optuna.create_study(direction="maximize", sampler=PredictorSampler("nb201", seed=0))
    study.optimize(fragile, n_trials=30, catch=(ValueError,))
    states = [trial.state for trial in study.trials]
    assert states[15:].count(TrialState.FAIL) <= 3
    assert study.best_value > 8.0


def test_repeated_measurements_are_averaged_if_the_user_asks() -> None:
    noise = np.random.default_rng(0)

    def noisy(trial: optuna.Trial) -> float:
        return flops_of(trial) + float(noise.normal(0, 0.3))

    study = optuna.create_study(
        direction="maximize", sampler=PredictorSampler("nb201", seed=0, repeat=3)
    )
    study.optimize(noisy, n_trials=25)
    tried = ids(study)
    counts = [tried.count(name) for name in set(tried)]
    assert 1 < max(counts) <= 3
