"""Batches of exported programs, which have written down the sizes of their example."""

import pytest
import torch
from torch import nn

from nasplug.search_spaces.importers.torch_graph import torch_network


class Attention(nn.Module):
    """Class token, attention in windows, and sizes taken from the input."""

    def __init__(self, windows=1):
        super().__init__()
        self.windows = windows
        self.token = nn.Parameter(torch.zeros(1, 1, 16))
        self.qkv, self.head = nn.Linear(16, 48), nn.Linear(16, 5)

    def forward(self, x):
        images, words, _ = x.shape
        x = torch.cat([self.token.expand(images, -1, -1), x], 1)
        x = x.view(images * self.windows, (words + 1) // self.windows, 16)
        parts = self.qkv(x).view(images * self.windows, -1, 3, 4, 4).permute(2, 0, 3, 1, 4)
        x = nn.functional.scaled_dot_product_attention(*parts.unbind(0))
        x = x.transpose(1, 2).reshape(images, words + 1, 16)
        return self.head(x[:, 0] + x.new_ones(images, 16))


@pytest.mark.parametrize("windows", [1, 4])
@pytest.mark.parametrize("images", [3, 4])
def test_a_batch_that_is_written_down_is_free(images, windows):
    module, example = Attention(windows).eval(), torch.zeros(images, 7, 16)
    program = torch.export.export(module, (example,))
    read = torch_network(program)
    single = torch_network(module, example[:1])
    assert (read.batch, read.is_free) == (images, True)
    assert read.graph.total("flops") == single.graph.total("flops")
    assert read.graph.canonical_hash == single.graph.canonical_hash


def test_entries_that_are_mixed_stay_a_batch():
    class Mixed(nn.Module):
        def forward(self, x):
            images, words = x.shape
            return x.view(images * words // 2, 2).softmax(0).view(images, words)

    program = torch.export.export(Mixed(), (torch.zeros(4, 6),))
    read = torch_network(program)
    assert (read.batch, read.is_free) == (4, False)


def test_sizes_of_weights_are_no_batches():
    class Biased(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.zeros(16, 4))

        def forward(self, x):
            bias = self.table.view(4, 4, -1).permute(2, 0, 1)
            return (x @ x.transpose(-1, -2) + bias).softmax(-1)

    module, example = Biased().eval(), torch.zeros(4, 4, 4, 8)
    read = torch_network(torch.export.export(module, (example,)))
    assert (read.batch, read.is_free) == (4, True)
