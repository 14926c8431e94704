import numpy as np

from experiments.latency.methods import Networks, launch_costs, roofline_bounds
from nasplug import hardware
from nasplug.predictors.features.roofline import roofline_ms
from nasplug.predictors.features.settings import Setting
from nasplug.search_spaces import space

COLUMN = Setting(hardware("GTX 1660"), 4)


def graphs_of(family, count):
    where, rng = space(f"nnlqp:{family}"), np.random.default_rng(0)
    return [where.to_graph(where.sample(rng)) for _ in range(count)]


def roofline(graphs, batches=None):
    batches = batches or [COLUMN.batch_size] * len(graphs)
    return np.array(
        [roofline_ms(g, COLUMN.hardware, b).sum() for g, b in zip(graphs, batches, strict=True)]
    )


def launched(graphs):
    """A device that stretches the roofline, and takes as long to launch any operator."""
    return 1.5 * roofline(graphs) + np.array([0.02 * len(graph) for graph in graphs])


def test_a_device_with_equal_launches_is_known_on_another_family():
    learned = {name: graphs_of(name, 15) for name in ("mobilenetv2", "resnet", "googlenet")}
    graphs = [graph for own in learned.values() for graph in own]
    families = [name for name, own in learned.items() for _ in own]
    other = graphs_of("mnasnet", 10)
    learn = Networks(COLUMN, graphs, launched(graphs), families)
    judge = Networks(COLUMN, other, launched(other), ["mnasnet"] * 10)
    np.testing.assert_allclose(launch_costs(learn, judge)[0], judge.ms, rtol=0.05)


def test_launch_costs_take_the_batch_of_each_network():
    graphs, batches = graphs_of("resnet", 20), np.array([1, 8] * 10)
    an_image = roofline(graphs, batches.tolist()) / batches
    learn = Networks(COLUMN, graphs, an_image, ["a", "a", "b", "b"] * 5, batches)
    np.testing.assert_allclose(launch_costs(learn, learn)[0], an_image, rtol=0.02)
    twice = Networks(COLUMN, graphs[:1] * 2, np.ones(2), ["a", "a"], np.array([1, 8]))
    one, eight = launch_costs(learn, twice)[0] * [1, 8]
    assert eight > 2 * one


def test_the_process_learns_how_far_a_device_is_from_its_roofline():
    graphs, other = graphs_of("mobilenetv2", 40), graphs_of("mnasnet", 10)
    images = COLUMN.batch_size
    ms = 3 * roofline(graphs) / images * np.exp(0.01 * np.sin(np.arange(40)))
    learn = Networks(COLUMN, graphs, ms, ["a"] * 40, np.full(40, images))
    judge = Networks(COLUMN, other, np.ones(10), ["b"] * 10, np.full(10, images))
    center, low, high = roofline_bounds(learn, judge)
    np.testing.assert_allclose(center, 3 * roofline(other) / images, rtol=0.05)
    assert (low < center).all()
    assert (center < high).all()
