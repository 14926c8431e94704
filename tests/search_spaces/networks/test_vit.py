"""The space of vision transformers: choices, texts, graphs, and ONNX models that run."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nasplug
from nasplug.datasets.network_graphs import shipped_network_graphs
from nasplug.devices.hardware import hardware
from nasplug.predicting.zoo import load_shipped
from nasplug.search_spaces import InputError
from nasplug.search_spaces.importers.onnx_graph import onnx_graph
from nasplug.search_spaces.networks.vit import VitSpace
from nasplug.testing import check_space

TINY = {
    "embed": (16, 24),
    "depth": (1, 2, 3),
    "heads": (1, 2),
    "ratio": (2, 2.5),
    # Six pixels divide the larger images alone.
    "patch": (4, 6, 8),
    "resolution": (16, 24),
    "head_size": 8,
}
VIT = nasplug.space("vit")
LAYERS = VitSpace(**TINY, per_layer=True)
# timm leaves out the classifier of these two.
HEADLESS = {"vit_small_patch8_224", "vit_large_patch32_224"}


@pytest.mark.parametrize("per_layer", [False, True])
def test_own_choices_keep_the_contract(per_layer):
    check_space(VitSpace(**TINY, per_layer=per_layer))


def test_published_networks_are_read_as_timm_builds_them():
    graphs = shipped_network_graphs()
    compared = set()
    for name, arch in VIT.standards.items():
        side = name.rpartition("_")[2]
        reference = f"timm:{name}@{side}"
        if reference not in graphs or name in HEADLESS:
            continue
        own, other = VIT.to_graph(arch), graphs.graph(reference)
        assert (own.ops, own.edges) == (other.ops, other.edges), name
        assert np.array_equal(own.attributes, other.attributes), name
        compared.add(name)
    assert len(compared) == 19
    sizes = {text.rpartition("_patch")[0] for text in compared}
    assert sizes == {f"vit_{size}" for size in ("tiny", "small", "base", "large")} | {
        f"deit_{size}" for size in ("tiny", "small", "base")
    }


@pytest.mark.slow
def test_published_networks_have_the_parameters_of_timm():
    timm = pytest.importorskip("timm", reason="the networks are compared with those of timm")
    for name, arch in VIT.standards.items():
        if name not in timm.list_models() or name in HEADLESS:
            continue
        network = timm.create_model(name)
        params = sum(p.numel() for p in network.parameters())
        assert VIT.to_graph(arch).total("params") == params, name


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_networks_of_any_choices(seed):
    for space in (VIT, LAYERS):
        arch = space.sample(np.random.default_rng(seed))
        assert space.parse(arch.text) == arch
        assert space.from_params(space.to_params(arch)) == arch
        mutant = space.mutate(arch, np.random.default_rng(seed))
        assert mutant in space.neighbors(arch)
        assert mutant.arch_id != arch.arch_id
        graph, model = space.to_graph(arch), space.choices.model(space.to_params(arch))
        assert graph.total("params") == model.params
        assert graph.total("macs") == model.macs
        side = model.side
        assert side % model.patch == 0
        assert graph.attribute("height")[0] == side


def test_what_does_not_count_makes_no_other_network():
    params = LAYERS.to_params(LAYERS.parse("vit:depth=1,patch=6"))
    assert LAYERS.from_params({**params, "heads_2": 1, "resolution": 16}) == LAYERS.from_params(
        params
    )
    assert LAYERS.choices.model(params).side == 24
    params = VIT.to_params(VIT.parse("vit_large_patch14_224"))
    assert VIT.from_params({**params, "resolution": 384}) == VIT.standards["vit_large_patch14_224"]
    # Layers that do not differ are written as those of a space where they cannot.
    uniform = VitSpace(**TINY).parse("depth=3,heads=1,ratio=2")
    assert LAYERS.parse(uniform.text).arch_id == uniform.arch_id
    assert LAYERS.parse("depth=3,heads=1-2-1,ratio=2").text.startswith(
        "vit:embed=24,depth=3,heads=1-2-1,ratio=2,"
    )
    assert VIT.parse("depth=6").text == (
        "vit:embed=384,depth=6,heads=6,ratio=4,patch=16,resolution=224"
    )


def test_onnx_models_run_and_are_read_as_their_graphs():
    runtime = pytest.importorskip("onnxruntime")
    own = VitSpace(**{**TINY, "heads": (2,), "head_size": 0})
    texts = ((LAYERS, "depth=2,heads=1-2,ratio=2-2.5,patch=6"), (own, "depth=1,patch=8"))
    for space, text in texts:
        arch = space.parse(text)
        model = space.to_onnx(arch, seed=1, batch_size=2)
        read, graph = onnx_graph(model), space.to_graph(arch)
        assert 0 <= read.total("params") - graph.total("params") <= 3 * len(read)
        assert read.total("macs") == graph.total("macs")
        session = runtime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        images = np.random.default_rng(0).random((2, 3, 24, 24), dtype=np.float32)
        (scores,) = session.run(["output"], {"images": images})
        assert scores.shape == (2, 1_000)
        assert np.isfinite(scores).all()
        assert np.abs(scores[0] - scores[1]).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vit:embed=192,heads=5,head_size=0", "5 heads do not divide an embedding of 192"),
        ("vit:patch=14|16,resolution=384", "a patch of 14 pixels does not divide images of 384"),
        ("vit:width=3", "unknown choice 'width' of a vision transformer"),
        ("vit:depth=2.5", "no whole number and no range as 4..6"),
        ("vit:ratio=2.", "no whole number and no range as 4..6"),
        ("vit:ratio=0", "ratio 0 is no number between 0 and 1,000"),
        ("vit:depth=6,depth=7", "depth is given twice"),
        ("vit:per_layer=2", "per_layer is 2; it may be 0 or 1"),
        ("vit:embed=0", "embed 0 is not a whole number of at least 1"),
        ("vit:head_size=32|64", "give one number"),
    ],
)
def test_impossible_choices_are_refused(name, words):
    with pytest.raises(InputError, match=words):
        nasplug.space(name)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("patch=14,resolution=384", "a patch of 14 pixels does not divide an image of 384"),
        ("patch=7,resolution=224", "'patch' is 7, not one of 8, 14, 16, 32"),
        ("patch=0,resolution=224", "'patch' is 0, not one of"),
        ("patch=16,resolution=448", "resolution is 448, not one of 224, 384"),
        ("depth=999999999,heads=3", "'depth' is 999999999, not one of"),
        ("depth=6,heads=3-4", "heads has 2 numbers for 6 layers"),
        ("depth=6,heads=3-4-3-3-3-3", "its choice per_layer=1 lets them differ"),
        ("embed=192-384", "give one number"),
        ("embed=192,embed=192", "'embed' is given twice"),
        ("width=192", "unknown decision 'width'"),
        ("ratio=-4", "not a vision transformer; write vit:embed=384"),
        ("vit_huge_patch14_224", "not a vision transformer; write vit:embed=384"),
    ],
)
def test_impossible_networks_are_refused(text, words):
    with pytest.raises(InputError, match=words):
        VIT.parse(text)


def test_choices_of_python():
    with pytest.raises(InputError, match="unknown choice 'layers'"):
        VitSpace(layers=(1, 2))
    space = VitSpace(depth=[2, 1, 2], ratio=(4.0, 3.5), patch=(16,), resolution=(224,))
    assert space.name == "vit:depth=1|2,ratio=3.5|4,patch=16,resolution=224"
    assert nasplug.space(space.name).distributions() == space.distributions()
    assert nasplug.space("vit:patch=16,resolution=224,ratio=3.5|4.0,depth=1..2").name == space.name
    # Widths between those of the published networks.
    assert not VitSpace(embed=(200,)).standards


def test_few_wide_layers_are_faster_than_many_narrow_ones():
    # Why a search that maximises FLOPs within a latency prefers the smallest depth.
    shapes = [(768, 6), (576, 11), (384, 24)]
    archs = [VIT.parse(f"embed={e},depth={d},heads={e // 64},ratio=4") for e, d in shapes]
    flops = [VIT.to_graph(arch).total("flops") for arch in archs]
    assert max(flops) < 1.05 * min(flops)
    latency = load_shipped(VIT, "latency")
    for device, batch in (("RTX 3090", 1), ("RTX 3090", 64), ("Raspberry Pi 4", 1)):
        assert (np.diff(latency.predict(archs, hardware(device), batch).mean[:, 0]) > 0).all()
