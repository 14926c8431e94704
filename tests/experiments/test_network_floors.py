import numpy as np

from experiments.latency.launch_costs import LaunchCosts
from experiments.latency.roofline_gp import RooflineGP
from nasplug import hardware
from nasplug.predictors.features.roofline import roofline_ms
from nasplug.predictors.latency.cell_latency import DeviceBatch
from nasplug.search_spaces import space

COLUMN = DeviceBatch(hardware("GTX 1660"), 4)


def networks(family, count):
    where, rng = space(f"nnlqp:{family}"), np.random.default_rng(0)
    return [where.to_graph(where.sample(rng)) for _ in range(count)]


def roofline(graphs):
    return np.array(
        [roofline_ms(graph, COLUMN.hardware, COLUMN.batch_size).sum() for graph in graphs]
    )


def launched(graphs):
    """A device that stretches the roofline, and takes as long to launch any operator."""
    return 1.5 * roofline(graphs) + np.array([0.02 * len(graph) for graph in graphs])


def test_a_device_with_equal_launches_is_known_on_another_family():
    learned = {name: networks(name, 15) for name in ("mobilenetv2", "resnet", "googlenet")}
    graphs = [graph for own in learned.values() for graph in own]
    groups = [name for name, own in learned.items() for _ in own]
    costs = LaunchCosts(COLUMN)
    costs.fit(graphs, launched(graphs), groups)
    other = networks("mnasnet", 10)
    np.testing.assert_allclose(costs.predict(other), launched(other), rtol=0.05)


def test_launch_costs_take_the_batch_of_each_network():
    graphs = networks("resnet", 20)
    batches = [1, 8] * 10
    ms = np.array(
        [roofline_ms(g, COLUMN.hardware, b).sum() for g, b in zip(graphs, batches, strict=True)]
    )
    costs = LaunchCosts(COLUMN)
    costs.fit(graphs, ms, ["a", "a", "b", "b"] * 5, batches)
    np.testing.assert_allclose(costs.predict(graphs, batches), ms, rtol=0.02)
    assert costs.predict(graphs[:1], [8])[0] > 2 * costs.predict(graphs[:1], [1])[0]


def test_the_process_learns_how_far_a_device_is_from_its_roofline():
    graphs, other = networks("mobilenetv2", 40), networks("mnasnet", 10)
    process = RooflineGP(COLUMN.hardware, False)
    process.fit(graphs, 3 * roofline(graphs) * np.exp(0.01 * np.sin(np.arange(40))), [4] * 40)
    center, low, high = process.predict(other, [4] * 10)
    np.testing.assert_allclose(center, 3 * roofline(other), rtol=0.05)
    assert (low < center).all()
    assert (center < high).all()
