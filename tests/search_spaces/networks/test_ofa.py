"""The space ofa: encodings, sizes, and the networks of the paper."""

import json
from pathlib import Path

import numpy as np
import pytest

from nasplug.search_spaces import InputError, space

OFA_0 = {
    "ks": [7, 5, 5, 5, 7, 7, 5, 7, 5, 7, 3, 7, 5, 3, 7, 3, 5, 3, 5, 3],
    "e": [6, 4, 4, 6, 6, 3, 4, 3, 3, 6, 3, 3, 3, 6, 3, 4, 6, 4, 3, 6],
    "d": [2, 2, 2, 2, 3],
    "r": 204,
}
OFA_0_TEXT = (
    "r=204;d=2,2,2,2,3;ks=7,5,0,0,7,7,0,0,5,7,0,0,5,3,0,0,5,3,5,0;"
    "e=6,4,0,0,6,3,0,0,3,6,0,0,3,6,0,0,6,4,3,0"
)


def test_ofa_encodings():
    ofa = space("ofa")
    arch = ofa.parse(json.dumps(OFA_0))
    assert arch.text == OFA_0_TEXT
    assert ofa.parse(OFA_0_TEXT) == arch
    assert ofa.parse(json.dumps({**OFA_0, "wid": None})) == arch
    # What the file says of blocks that are switched off does not count.
    other = {**OFA_0, "ks": [7, 5, 3, 3, *OFA_0["ks"][4:]]}
    assert ofa.parse(json.dumps(other)) == arch
    for bad, words in (
        ({**OFA_0, "r": 130}, "'r' is 130, not one of 128, 132"),
        ({**OFA_0, "d": [2, 2, 2, 2, 5]}, "'d_5' is 5, not one of 2, 3, 4"),
        ({**OFA_0, "ks": OFA_0["ks"][:-1]}, "write r=224"),
        ({"r": 204}, "write r=224"),
    ):
        with pytest.raises(InputError, match=words):
            ofa.parse(json.dumps(bad))
    with pytest.raises(InputError, match="'k_1_1' is 0, not one of 3, 5, 7"):
        ofa.parse(OFA_0_TEXT.replace("ks=7", "ks=0"))


def test_ofa_macro_architecture():
    ofa = space("ofa")
    full = ofa.to_graph(ofa.standard)
    assert full.ops.count("Add") == 1 + 5 * 3
    assert full.attribute("height")[0] == 224
    channels = full.attribute("out_channels")
    # The widths of the MobileNetV3 times 1.2, rounded to eights.
    adds = [int(channels[k]) for k, op in enumerate(full.ops) if op == "Add"]
    assert adds == [24, *[32] * 3, *[48] * 3, *[96] * 3, *[136] * 3, *[192] * 3]
    assert channels[[k for k, op in enumerate(full.ops) if op == "Conv"][-2:]].tolist() == [
        1152,
        1536,
    ]
    # The last convolution has no bias.
    last = [k for k, op in enumerate(full.ops) if op == "Conv"][-1]
    assert full.attribute("params")[last] == 1152 * 1536
    assert full.ops.count("HardSigmoid") == 12
    small = ofa.to_graph(ofa.parse(OFA_0_TEXT))
    assert small.attribute("height")[0] == 204
    assert small.ops.count("Add") == 1 + 4 * 1 + 2


def test_ofa_sizes_agree_with_measured_latencies(mirror: Path):
    torch = pytest.importorskip("torch")
    import numpy

    (folder,) = mirror.glob("HayeonLee/HELP/*/data/ofa")
    scalar = (numpy._core.multiarray.scalar, "numpy.core.multiarray.scalar")
    with torch.serialization.safe_globals([scalar, numpy.dtype, numpy.dtypes.Int64DType]):
        archs = torch.load(folder / "ofa_archs.pt", weights_only=True)["arch"][:200]
    latency = torch.load(folder / "latency" / "titan_rtx_64.pt", weights_only=True)[:200]
    ofa = space("ofa")
    parsed = [ofa.parse(json.dumps({**one, "r": int(one["r"])})) for one in archs]
    assert parsed[0].text == OFA_0_TEXT
    assert rank_correlation([ofa.to_graph(a).total("flops") for a in parsed], latency) > 0.98


def rank_correlation(a: list[float], b: list[float]) -> float:
    def ranks(values):
        return np.argsort(np.argsort(values))

    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])
