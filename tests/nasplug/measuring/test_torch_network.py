"""Networks as PyTorch modules, against their ONNX models."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch.nn import functional as F

from nasplug import InputError, space
from nasplug.measuring.runtimes import inputs_of
from nasplug.measuring.torch_network import TorchNetwork

# The smallest networks there are: cells without convolutions.
CELLS = "nnlqp:nasbench201"
TINY = [
    "|avg_pool_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|",
    "|avg_pool_3x3~0|+|none~0|avg_pool_3x3~1|+|none~0|none~1|skip_connect~2|",
    "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|",
    "|avg_pool_3x3~0|+|none~0|none~1|+|skip_connect~0|skip_connect~1|none~2|",
]


@pytest.mark.parametrize(
    "name",
    ["nasbench201", "squeezenet", "googlenet", "mobilenetv2", "mobilenetv3", "efficientnet"],
)
def test_torch_runs_the_same_network(name):
    one: Any = space(f"nnlqp:{name}")
    assert_same_output(one.to_onnx(one.sample(np.random.default_rng(1)), 3, 2))


def test_torch_runs_shuffled_channels():
    fbnet: Any = space("fbnet")
    model = fbnet.to_onnx(fbnet.sample(np.random.default_rng(0)), 0, 2)
    assert {"Transpose", "Reshape"} <= {node.op_type for node in model.graph.node}
    assert_same_output(model)


def assert_same_output(model: Any) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    ((name, image),) = inputs_of(model).items()
    (expected,) = session.run(None, {name: image})
    with torch.inference_mode():
        found = TorchNetwork(model)(torch.from_numpy(image)).numpy()
    assert expected.std() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_torch_joins_silu():
    efficient: Any = space("nnlqp:efficientnet")
    model = efficient.to_onnx(efficient.standard)
    steps = [step for step, _, _, _ in TorchNetwork(model)._steps]
    assert F.silu in steps
    # The gates of squeeze-and-excitation multiply another tensor.
    gates = sum(node.op_type == "Sigmoid" for node in model.graph.node)
    assert steps.count(F.silu) + steps.count(torch.sigmoid) == gates
    assert torch.sigmoid in steps


def test_torch_refuses_what_it_does_not_know():
    cells: Any = space(CELLS)
    model = cells.to_onnx(cells.parse(TINY[0]))
    model.graph.node[1].op_type = "Einsum"
    with pytest.raises(InputError, match="the backend torch does not know the operator 'Einsum'"):
        TorchNetwork(model)
