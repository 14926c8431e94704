"""Sizes of single operations, by hand."""

from __future__ import annotations

from nasplug.search_spaces.costs import Cost, conv, elementwise, linear, norm, pool


def test_a_convolution_reads_its_input_and_its_weights() -> None:
    # 16 · 3² · 8 weights; 8 channels of 10² pixels read, 16 of 5² written.
    assert conv(8, 16, 3, 5, stride=2) == Cost(1152 * 25, 1152, 4 * (800 + 400 + 1152))
    depthwise = conv(8, 8, 3, 5, groups=8)
    assert (depthwise.params, depthwise.flops) == (72, 72 * 25)


def test_other_operations() -> None:
    assert norm(8, 5) == Cost(0, 16, 4 * (2 * 200 + 16))
    assert elementwise(8, 5) == Cost(0, 0, 4 * 400)
    assert elementwise(8, 5, inputs=2) == Cost(0, 0, 4 * 600)
    assert pool(8, 5, stride=2) == Cost(0, 0, 4 * 8 * (100 + 25))
    assert linear(64, 10) == Cost(650, 650, 4 * (74 + 650))


def test_costs_add_up() -> None:
    assert Cost(1, 2, 3) + Cost(10, 20, 30) * 2 == Cost(21, 42, 63)
