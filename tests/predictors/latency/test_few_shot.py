"""A new device from a few measurements, on real tables of real devices."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from nasplug import InputError, datasets, hardware
from nasplug.predictors import NotFittedError
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.few_shot import DeviceTransfer
from nasplug.predictors.latency.known_devices import KnownDevices, PredictedDevices
from nasplug.search_spaces import space

KNOWN = ["GTX 1080 Ti@1", "GTX 1080 Ti@256", "Xeon Silver 4114@1", "Galaxy A50@1", "Pixel 3@1"]
CELLS = np.random.default_rng(6).permutation(15_625)[:900]
LEARN, REST = slice(0, 300), slice(300, 900)


@pytest.fixture(scope="module")
def cells():
    nb201 = space("nb201")
    return nb201.to_graphs([nb201[int(k)] for k in CELLS])


@pytest.fixture(scope="module")
def table(nb201_cache):
    return datasets.load("nb201-latency").iloc[CELLS]


@pytest.fixture(scope="module")
def transfer(cells, table):
    known = KnownDevices()
    known.fit(cells[LEARN], table[KNOWN].to_numpy()[LEARN])
    return DeviceTransfer(known)


def test_known_devices_are_known_for_cells_that_were_not_measured(transfer, cells, table):
    said = transfer.known.log_latency(cells[REST])
    truth = table[KNOWN].to_numpy()[REST]
    assert said.shape == (600, len(KNOWN))
    for k in range(len(KNOWN)):
        assert spearmanr(said[:, k], truth[:, k])[0] > 0.9


@pytest.mark.parametrize("column", ["Titan RTX@256", "ZC706@1", "Eyeriss@1"])
def test_ten_measurements_rank_a_new_device(transfer, cells, table, column):
    truth = table[column].to_numpy()
    # Ten at random with the mean of the known devices, as the floor.
    floor = spearmanr(transfer.known.log_latency(cells[REST]).mean(1), truth[REST])[0]
    ranks, inside = [], []
    for seed in range(3):
        chosen = np.random.default_rng(seed).permutation(300)[:10]
        transfer.fit([cells[k] for k in chosen], truth[chosen])
        mean, std = transfer.log_latency(cells[REST])
        ranks.append(spearmanr(mean, truth[REST])[0])
        inside.append(np.mean(np.abs(np.log(truth[REST]) - mean) < 1.645 * std))
    assert np.mean(ranks) > max(floor, 0.93)
    assert np.mean(inside) > 0.8


def test_suggested_cells_say_more_than_the_first_ones(transfer, cells):
    chosen = transfer.suggest(cells[REST], 10)
    assert len(set(chosen)) == 10
    # They differ in what the known devices say of them.
    logs = transfer.known.log_latency(cells[REST])
    assert logs[chosen].std() > 1.2 * logs[:10].std()
    with pytest.raises(InputError, match="11 of 10 graphs"):
        transfer.suggest(cells[:10], 11)


def test_degenerate_latencies_are_left_out(transfer, cells, table):
    truth = table["Titan RTX@256"].to_numpy()
    transfer.fit(cells[:10], truth[:10])
    first, _ = transfer.log_latency(cells[REST])
    transfer.fit(cells[:11], np.append(truth[:10], 0.003))
    again, _ = transfer.log_latency(cells[REST])
    np.testing.assert_allclose(again, first)


def test_bad_input_is_named(transfer, cells, table):
    with pytest.raises(InputError, match="2 graphs and 2 latencies"):
        transfer.fit(cells[:2], [1.0, 2.0])
    with pytest.raises(InputError, match="not a positive number"):
        transfer.fit(cells[:3], [1.0, 2.0, float("nan")])
    with pytest.raises(InputError, match="1 latencies are at least 0.1 ms"):
        transfer.fit(cells[:3], [1.0, 0.01, 0.01])
    with pytest.raises(NotFittedError):
        DeviceTransfer(transfer.known).log_latency(cells[:1])
    with pytest.raises(NotFittedError):
        KnownDevices().log_latency(cells[:1])
    with pytest.raises(InputError, match="a latency is unknown"):
        KnownDevices().fit(cells[:3], [[1.0], [np.nan], [2.0]])
    with pytest.raises(InputError, match="expected a row for each of the 3 graphs"):
        KnownDevices().fit(cells[:3], [1.0, 2.0, 3.0])


def test_predictions_have_the_interval_that_log_latency_tells(transfer, cells, table):
    truth = table["Titan RTX@256"].to_numpy()
    transfer.fit(cells[:10], truth[:10])
    mean, std = transfer.log_latency(cells[REST])
    said = transfer.predict(cells[REST])
    assert said.evidence == "few-shot"
    assert said.units == ("ms",)
    np.testing.assert_allclose(said.mean[:, 0], np.exp(mean))
    np.testing.assert_allclose(said.upper[:, 0], np.exp(mean + 1.644854 * std), rtol=1e-5)
    np.testing.assert_allclose(said.lower[:, 0], np.exp(mean - 1.644854 * std), rtol=1e-5)
    assert len(transfer.predict([])) == 0


@pytest.mark.parametrize("count", [4, 35])
def test_what_is_left_out_was_not_learned(transfer, cells, table, count):
    truth = table["Titan RTX@256"].to_numpy()[:count]
    logs, mean, std = transfer.left_out(cells[:count], truth)
    np.testing.assert_allclose(logs, np.log(truth))
    # Of many a tenth is left out at a time: every tenth graph.
    rest = [k for k in range(count) if k != 1 and (count < 30 or k % 10 != 1)]
    transfer.fit([cells[k] for k in rest], truth[rest])
    again = transfer.log_latency([cells[1]])
    np.testing.assert_allclose((mean[1], std[1]), (again[0][0], again[1][0]))


class Promised:
    """Latencies of other devices, and a promise of the new one."""

    describes = True

    def __init__(self, known, promise):
        self.known, self.promise = known, promise
        self.graphs, self.smallest_ms = known.graphs, known.smallest_ms

    def log_latency(self, graphs):
        own = np.array([self.promise[id(graph)] for graph in graphs])
        return np.concatenate([self.known.log_latency(graphs), own[:, None]], axis=1)


def test_a_description_that_keeps_its_promise_is_believed(transfer, cells, table):
    truth = table["Eyeriss@1"].to_numpy()
    promise = {id(graph): np.log(value) for graph, value in zip(cells, truth, strict=True)}
    errors = []
    for known in (transfer.known, Promised(transfer.known, promise)):
        own = DeviceTransfer(known)
        own.fit(cells[:5], 3 * truth[:5])
        errors.append(np.abs(own.log_latency(cells[REST])[0] - np.log(3 * truth[REST])).mean())
    assert errors[1] < 0.5 * errors[0]
    # And one that does not is not.
    wrong = {key: value for key, value in zip(promise, reversed(promise.values()), strict=True)}
    own = DeviceTransfer(Promised(transfer.known, wrong))
    own.fit(cells[:10], truth[:10])
    error = np.abs(own.log_latency(cells[REST])[0] - np.log(truth[REST])).mean()
    transfer.fit(cells[:10], truth[:10])
    plain = np.abs(transfer.log_latency(cells[REST])[0] - np.log(truth[REST])).mean()
    assert error < 1.3 * plain


def test_networks_that_are_alike_leave_the_others_open(transfer, cells, table):
    truth = table["Titan RTX@256"].to_numpy()
    # The three whose known latencies are nearest to each other.
    order = np.argsort(transfer.known.log_latency(cells[REST]).mean(1))[300:303] + REST.start
    transfer.fit([cells[k] for k in order], truth[order])
    mean, std = transfer.log_latency(cells[REST])
    assert np.mean(np.abs(np.log(truth[REST]) - mean) < 1.645 * std) > 0.8


def test_a_predictor_of_many_devices_serves_as_what_is_known(cells):
    class Model:
        def log_latency(self, graphs, columns):
            return np.array([[len(g) * c.batch_size for c in columns] for g in graphs], float)

    columns = [Setting(hardware("T4"), 1), Setting(hardware("T4"), 2)]
    known = PredictedDevices(Model(), columns, Setting(hardware("A100"), 3), cells[:5])
    assert known.describes
    assert known.log_latency(cells[:1]).tolist() == [[8.0, 16.0, 24.0]]
    alone = PredictedDevices(Model(), columns, None, cells[:5])
    assert not alone.describes
    assert alone.log_latency(cells[:1]).tolist() == [[8.0, 16.0]]
