"""The union of the families of whole networks."""

import numpy as np

from nasplug.search_spaces import space
from nasplug.search_spaces.networks.nnlqp import FAMILIES


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_union_wraps_its_families():
    union, resnet = space("nnlqp"), space("nnlqp:resnet")
    arch = union.parse("resnet50")
    assert arch.arch_id == resnet.standards["resnet50"].arch_id
    assert union.to_params(arch)["family"] == "resnet"
    assert union.to_params(arch)["resnet.block"] == "bottleneck"
    assert {union.sample(rng_of(seed)).text.split(":")[0] for seed in range(99)} == set(FAMILIES)
    own = {"family": "resnet"} | {
        f"resnet.{n}": v for n, v in resnet.to_params(resnet.standard).items()
    }
    assert union.from_params(own).text == resnet.standard.text
    assert union.parse(f"nasbench201:{space('nb201')[7]}").text.startswith("nasbench201:|")
    model = union.to_onnx(union.parse("squeezenet1.1"), batch_size=3)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 3
