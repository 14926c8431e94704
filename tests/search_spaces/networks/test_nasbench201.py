"""Networks of NAS-Bench-201 cells among the families of whole networks."""

import numpy as np
import pytest

from nasplug.search_spaces import Graph
from nasplug.search_spaces.nb201 import NB201
from nasplug.search_spaces.networks.nasbench201 import network_as_written
from nasplug.search_spaces.networks.nnlqp import FAMILIES, nnlqp

SPACES = {name: nnlqp(name) for name in FAMILIES}


def normed_channels(graph: Graph) -> int:
    """Channels of the convolutions that were trained with batch normalisation.

    All of them but those of an excitation, which see one pixel.
    """
    convs = np.array([op == "Conv" for op in graph.ops]) & (graph.attribute("height") > 1)
    return int(graph.attribute("out_channels")[convs].sum())


CELLS = NB201()
DEAD = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"


@pytest.mark.parametrize("index", [1462, 0, 9930])
def test_nasbench201_network_has_the_published_sizes(index):
    space = SPACES["nasbench201"]
    for task in ("cifar10", "cifar100", "imagenet16-120"):
        graph = space.to_graph(space.parse(CELLS[index].text), task)
        published = CELLS.to_graph(CELLS[index], task)
        # The shortcuts' two convolutions, of 32 and 64 channels, have neither norm nor bias.
        folded = normed_channels(graph) - 32 - 64
        # The benchmark counts the classifier's bias as multiply-accumulates, too.
        classes = graph.attribute("out_channels")[-2]
        assert graph.total("flops") + classes == published.total("flops")
        assert graph.total("params") + folded == published.total("params")


def test_nasbench201_network_has_no_dead_operations():
    space = SPACES["nasbench201"]
    # Node 1 feeds nothing, so its convolution is never run.
    one = space.parse("|nor_conv_3x3~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|none~2|")
    kernels = space.to_graph(one).attribute("kernel")
    assert np.count_nonzero(kernels == 1) == 15 + 2  # the cells' and the shortcuts'
    dead = space.to_graph(space.parse(DEAD))
    assert dead.ops.count("Conv") == 1 + 6
    assert dead.ops.count("Mul") == 15  # times zero, as the benchmark's own code has it


def test_equal_cells_have_one_id():
    space = SPACES["nasbench201"]
    direct = "|nor_conv_1x1~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|"
    around = "|nor_conv_1x1~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|"
    assert space.parse(direct).arch_id == space.parse(around).arch_id
    other = direct.replace("1x1", "3x3")
    assert space.parse(direct).arch_id != space.parse(other).arch_id
    # The benchmark tells these apart by how often zero is added,
    zeros = DEAD.replace("none~2", "skip_connect~2")
    assert CELLS.parse(zeros).arch_id != CELLS.parse(DEAD).arch_id
    assert space.parse(zeros).arch_id == space.parse(DEAD).arch_id
    # and does not tell these apart, of which one runs the convolution twice.
    once = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|avg_pool_3x3~1|skip_connect~2|"
    twice = "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|avg_pool_3x3~1|skip_connect~2|"
    assert CELLS.parse(once).arch_id == CELLS.parse(twice).arch_id
    flops = [space.to_graph(space.parse(text)).total("flops") for text in (once, twice)]
    assert flops[0] < flops[1]
    assert space.parse(once).arch_id != space.parse(twice).arch_id


def test_one_id_is_one_network():
    space = SPACES["nasbench201"]
    networks: dict[str, tuple] = {}
    for index in range(0, 15_625, 50):
        for cell in CELLS.equivalents(CELLS[index])[:3]:
            arch = space.parse(cell.text)
            graph = space.to_graph(arch)
            seen = (sorted(graph.ops), len(graph.edges), graph.total("flops"))
            assert networks.setdefault(arch.arch_id, seen) == seen
    assert len(networks) > 200


@pytest.mark.parametrize(
    "text",
    [
        # Nothing but edge 2 -> 3 leads to the output: the convolution is idle.
        "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|",
        "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|none~1|skip_connect~2|",
    ],
)
def test_a_cell_as_written_runs_what_has_no_influence(text):
    cells, exported = NB201(), SPACES["nasbench201"]
    cell = cells.parse(text)
    written = network_as_written(cell)
    # The benchmark counts the biases of the classifier with its multiply-accumulates.
    assert abs(written.total("flops") - cells.to_graph(cell).total("flops")) <= 10
    assert written.ops.count("Mul") == 15 * text.count("none")
    assert exported.to_graph(exported.parse(text)).total("flops") < written.total("flops")
    assert network_as_written(cell, "imagenet16-120").attribute("height")[0] == 16
