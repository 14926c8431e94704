"""The parts of a training recipe, and that today's defaults are still what they were."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from nasplug.predictors.features.nodes import vocabulary_of
from nasplug.predictors.layers.batch import CodedBatch, GraphBatch
from nasplug.predictors.models.nnformer import NNFormer, NNFormerConfig
from nasplug.predictors.models.nnlp import NNLP, NNLPConfig
from nasplug.predictors.training import loop as fitting
from nasplug.predictors.training.config import Examples, TrainingConfig
from nasplug.predictors.training.loop import train
from nasplug.predictors.training.losses import disagreement, point_loss, ranking_loss
from nasplug.search_spaces import Graph, InputError
from nasplug.search_spaces.nb201 import NB201

NB = NB201()
GRAPHS = [NB.to_graph(NB[i]) for i in range(0, 15_625, 250)]
VOCABULARY = vocabulary_of(GRAPHS)
RECIPE = TrainingConfig(
    epochs=4,
    batch_size=16,
    learning_rate=3e-3,
    consistency="dropout",
    consistency_weight=1.0,
    schedule="cosine",
    ema_decay=0.9,
    gradient_clip=None,
    selection="last",
)


def small(dropout=0.1):
    torch.manual_seed(0)
    return NNFormer(NNFormerConfig(VOCABULARY, dim=8, num_layers=1, dropout=dropout))


def examples(count=48):
    flops = [[g.total("flops") / 2e8] for g in GRAPHS[:count]]
    graphs = small().prepare(GRAPHS[:count])
    return Examples(graphs, torch.tensor(flops, dtype=torch.float32), torch.ones(count))


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def assert_equal_batches(a, b):
    assert type(a) is type(b)
    for field in fields(a):
        values = [getattr(batch, field.name) for batch in (a, b)]
        lists = [v if isinstance(v, tuple) else (v,) for v in values]
        for x, y in zip(*lists, strict=True):
            assert x.dtype == y.dtype
            assert torch.equal(x, y), field.name


@pytest.mark.parametrize("tokens", [0, 1])
def test_selecting_graphs_equals_collating_them(tokens):
    def collate(graphs):
        return GraphBatch.collate(graphs, VOCABULARY, leading_tokens=tokens, trailing_tokens=tokens)

    # Graphs of different sizes, with one that has no edges at all.
    graphs = [*small().prepare(GRAPHS[:20]), Graph(("input", "output"), ())]
    whole = collate(graphs)
    for places in ([3], [20], [7, 3, 3, 20, 0], list(range(21)), list(range(20, -1, -1))):
        assert_equal_batches(whole.select(places), collate([graphs[k] for k in places]))


def test_selecting_keeps_codes():
    model = NNLP(NNLPConfig(VOCABULARY, dim=8))
    whole, places = model.collate(GRAPHS), [5, 60, 5, 2]
    part = whole.select(places)
    assert isinstance(part, CodedBatch)
    assert_equal_batches(part, model.collate([GRAPHS[k] for k in places]))
    moved = part.to("cpu")
    assert isinstance(moved, CodedBatch)
    assert_equal_batches(moved, part)


def test_large_sets_are_collated_batch_by_batch(monkeypatch):
    first, second = small(), small()
    recipe = replace(RECIPE, consistency="relabel")
    train(first, examples(), None, recipe)
    monkeypatch.setattr(fitting, "MOST_COLLATED", 0)
    train(second, examples(), None, recipe)
    assert torch.equal(weights(first), weights(second))


def test_losses_are_the_formulas_and_skip_the_unknown():
    p = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = torch.tensor([[2.0, math.nan], [4.0, 8.0]])
    one = torch.ones(2)
    squared = point_loss(p, y, one, "squared")
    assert squared.item() == pytest.approx((1 + 1 + 16) / 3)
    relative = point_loss(p, y, one, "relative")
    assert relative.item() == pytest.approx((0.5**2 + 0.25**2 + 0.5**2) / 3)
    heavy = point_loss(p, y, torch.tensor([2.0, 0.0]), "relative")
    assert heavy.item() == pytest.approx(2 * 0.5**2 / 3)
    other = torch.tensor([1, 0])
    # |(1 − 3) − (2 − 4)| = 0 for the first column; the second has no known gap.
    assert ranking_loss(p, y, other, 1.0).item() == 0
    gap = ranking_loss(p, torch.tensor([[2.0, 1.0], [4.0, 8.0]]), other, 0.2)
    assert gap.item() == pytest.approx(0.2 * (0 + 5 + 0 + 5) / 4)
    assert disagreement(p).item() == pytest.approx((2 + 2) / 2)
    (squared + relative + ranking_loss(p, y, other, 1.0) + disagreement(p)).backward()
    assert p.grad.isfinite().all()


@pytest.mark.parametrize(("schedule", "end"), [("cosine", 0.1), ("linear", 0.0)])
def test_schedules_warm_up_and_come_down(schedule, end):
    rates = [fitting._factor(step, 200, schedule) for step in range(201)]
    np.testing.assert_allclose(rates[:20], np.arange(1, 21) / 20)
    assert rates[20] == 1.0
    assert rates[-1] == pytest.approx(end, abs=1e-9)
    assert (np.diff(rates[20:]) < 0).all()
    middle = (1 + end) / 2
    assert rates[110] == pytest.approx(middle)


def observed_batches(monkeypatch, recipe):
    batches = []
    forward = NNFormer.forward

    def watching(self, batch):
        batches.append(batch)
        return forward(self, batch)

    monkeypatch.setattr(NNFormer, "forward", watching)
    train(small(), examples(16), None, recipe)
    return batches


def halves(batch):
    count = len(batch) // 2
    return batch.select(range(count)), batch.select(range(count, 2 * count))


def test_dropout_consistency_feeds_every_graph_twice(monkeypatch):
    for batch in observed_batches(monkeypatch, RECIPE):
        assert len(batch) == 32
        assert_equal_batches(*halves(batch))


def test_relabel_consistency_feeds_isomorphic_copies(monkeypatch):
    different = 0
    for batch in observed_batches(monkeypatch, replace(RECIPE, consistency="relabel")):
        first, second = halves(batch)
        assert torch.equal(first.sizes, second.sizes)
        for k in range(len(first)):
            mine, copy = first.select([k]), second.select([k])
            assert torch.equal(mine.ops.sort()[0], copy.ops.sort()[0])
            assert mine.edges.shape == copy.edges.shape
            same = torch.equal(mine.ops, copy.ops) and torch.equal(mine.edges, copy.edges)
            different += not same
    assert different > 10


def test_consistency_pulls_the_two_predictions_together():
    model, plain = small(0.3), small(0.3)
    recipe = replace(RECIPE, epochs=30, rank_weight=0.0, ema_decay=None)
    train(model, examples(), None, replace(recipe, consistency_weight=10.0))
    train(plain, examples(), None, replace(recipe, consistency="none", consistency_weight=0.0))

    def spread(network):
        network.train()
        batch = network.collate(examples().graphs)
        with torch.no_grad():
            return (network(batch) - network(batch)).abs().mean().item()

    assert spread(model) < 0.5 * spread(plain)


def test_moving_average_is_kept(monkeypatch):
    visited = []
    update = fitting._Fit.on_train_batch_end

    def watching(self, *arguments):
        visited.append(weights(self.model))
        update(self, *arguments)

    monkeypatch.setattr(fitting._Fit, "on_train_batch_end", watching)
    model = small()
    train(model, examples(), None, RECIPE)
    assert len(visited) == 12
    average = visited[0]
    for value in visited[1:]:
        average = 0.9 * average + 0.1 * value
    torch.testing.assert_close(weights(model), average)
    last = small()
    visited.clear()
    train(last, examples(), None, replace(RECIPE, ema_decay=None))
    assert torch.equal(weights(last), visited[-1])


def test_best_epoch_with_moving_average():
    model = small()
    recipe = replace(RECIPE, epochs=6, selection="best")
    result = train(model, examples(), examples(20), recipe)
    with torch.no_grad():
        error = model(model.collate(examples(20).graphs)) - examples(20).targets
    assert error.pow(2).mean().item() == pytest.approx(result.validation_loss, rel=1e-4)


def test_last_epoch_needs_no_validation_split_and_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = train(small(), examples(), None, RECIPE)
    assert (result.epochs, result.best_epoch) == (4, 3)
    assert math.isnan(result.validation_loss)
    assert list(tmp_path.iterdir()) == []


def test_gradient_clipping_can_be_set():
    runs = []
    for clip in (None, 1e-3, 1e9):
        model = small()
        # Adam's steps do not depend on the scale of gradients but for its epsilon.
        train(model, examples(), None, replace(RECIPE, gradient_clip=clip))
        runs.append(weights(model))
    assert torch.equal(runs[0], runs[2])
    assert not torch.equal(runs[0], runs[1])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"consistency": "relabel", "optimizer": "adam", "schedule": "linear", "loss": "relative"},
        {"selection": "best", "ema_decay": 0.5},
    ],
)
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, changes):
    recipe = replace(RECIPE, epochs=6, **changes)
    validation = examples(20) if recipe.selection == "best" else None
    whole, again, other, interrupted, resumed = (small() for _ in range(5))
    train(whole, examples(), validation, recipe)
    train(again, examples(), validation, recipe)
    assert torch.equal(weights(whole), weights(again))
    train(other, examples(), validation, replace(recipe, seed=1))
    assert not torch.equal(weights(whole), weights(other))

    class Stop(RuntimeError):
        pass

    steps, training_step = 0, fitting._Fit.training_step

    def stopping(self, *arguments):
        nonlocal steps
        steps += 1
        if steps == 11:  # in the fourth epoch
            raise Stop
        return training_step(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting._Fit, "training_step", stopping)
        with pytest.raises(Stop):
            train(interrupted, examples(), validation, recipe, folder=tmp_path)
    result = train(resumed, examples(), validation, recipe, folder=tmp_path)
    assert result.epochs == 6
    assert torch.equal(weights(whole), weights(resumed))


def test_a_run_resumed_again_and_again_loses_no_epochs_even_if_its_folder_moves(tmp_path):
    # Steps so large that the first epochs stay the best: the state is not theirs alone.
    recipe = replace(RECIPE, epochs=12, patience=12, selection="best", learning_rate=1.0)
    whole, resumed = small(), small()
    expected = train(whole, examples(), examples(20), recipe)
    assert expected.best_epoch < 3

    class Stop(RuntimeError):
        pass

    training_step = fitting._Fit.training_step
    epochs = []

    def until(last):
        def step(self, *arguments):
            epochs.append(self.current_epoch)
            if epochs[-1] > last:
                raise Stop
            return training_step(self, *arguments)

        return step

    for sitting, last in enumerate((5, 8)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fitting._Fit, "training_step", until(last))
            with pytest.raises(Stop):
                train(small(), examples(), examples(20), recipe, folder=tmp_path / str(sitting))
        (tmp_path / str(sitting)).rename(tmp_path / str(sitting + 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting._Fit, "training_step", until(12))
        result = train(resumed, examples(), examples(20), recipe, folder=tmp_path / "2")
    # Three steps an epoch, and the one at which a sitting stopped.
    sittings = (*range(6), *range(6, 9), *range(9, 12))
    assert sorted(epochs) == sorted([*sittings * 3, 6, 9])
    assert result.epochs == 12
    assert (result.best_epoch, result.validation_loss) == (
        expected.best_epoch,
        pytest.approx(expected.validation_loss),
    )
    assert torch.equal(weights(whole), weights(resumed))


def test_divergence_is_told():
    broken = examples()
    broken.targets[3] = math.inf
    with pytest.raises(RuntimeError, match="diverged"):
        train(small(), broken, None, RECIPE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "huber"}, "loss is 'huber'.*relative"),
        ({"consistency": "mixup"}, "consistency is 'mixup'"),
        ({"optimizer": "sgd"}, "optimizer is 'sgd'.*adamw"),
        ({"schedule": "step"}, "schedule is 'step'.*cosine"),
        ({"selection": "first"}, "selection is 'first'"),
        ({"epochs": 0}, "epochs is 0"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"ema_decay": 1.0}, "ema_decay is 1.0"),
        ({"consistency": "none"}, "consistency_weight needs"),
    ],
)
def test_bad_options_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        replace(RECIPE, **changes)


def test_choosing_an_epoch_needs_a_validation_split():
    with pytest.raises(InputError, match="48 training and 0 validation"):
        train(small(), examples(), None, replace(RECIPE, selection="best"))


def test_defaults_are_those_of_the_shipped_predictors():
    config = TrainingConfig()
    assert (config.loss, config.consistency, config.optimizer) == ("squared", "none", "adamw")
    assert (config.schedule, config.selection) == ("onecycle", "best")
    assert (config.ema_decay, config.gradient_clip) == (None, 1.0)
