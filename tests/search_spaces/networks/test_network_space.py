"""The spaces of whole networks: one contract for all of them, and the benchmarks' own encodings."""

import json
import tarfile
from pathlib import Path

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasplug.search_spaces import Architecture, FiniteSpace, InputError, names, space
from nasplug.search_spaces.networks.family import Decision, Family
from nasplug.search_spaces.networks.network_space import distribution
from nasplug.search_spaces.networks.nnlqp import FAMILIES

SPACES = ("fbnet", "ofa", "accel", "macro", "nnlqp", *(f"nnlqp:{family}" for family in FAMILIES))
seeds = st.integers(0, 2**32 - 1)
checked = settings(max_examples=15, deadline=None)


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def different(a: dict, b: dict) -> set[str]:
    return {name for name in a if a[name] != b[name]}


# --- the contract ------------------------------------------------------------------------------


@pytest.fixture(params=SPACES, scope="module")
def found(request):
    return space(request.param)


@pytest.fixture(params=[name for name in SPACES if name != "nnlqp"], scope="module")
def family_space(request):
    return space(request.param)


def test_spaces_are_registered():
    assert {"fbnet", "ofa", "accel", "macro", "nnlqp"} <= set(names())
    assert space("nnlqp:resnet") is space("nnlqp:resnet")
    assert space("nnlqp:resnet").name == "nnlqp:resnet"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nnlqp:resnett", "unknown family 'resnett'; nnlqp has resnet"),
        ("nnlqp:", "unknown family ''"),
        ("nb201:x", "'nb201' has no parts; leave out ':x'"),
        ("nnlq:resnet", "unknown search space 'nnlq:resnet'; known: nnlqp"),
    ],
)
def test_unknown_parts_are_refused(name, words):
    with pytest.raises(InputError, match=words):
        space(name)


@checked
@given(seed=seeds)
def test_params_and_text_say_everything(found, seed):
    arch = found.sample(rng_of(seed))
    found.validate(arch)
    assert arch.space == found.name
    assert found.from_params(found.to_params(arch)) == arch
    assert found.parse(arch.text) == arch
    assert found.to_params(arch).keys() == found.distributions().keys()


@checked
@given(seed=seeds)
def test_a_seed_repeats_and_the_generator_is_used(found, seed):
    assert found.sample(rng_of(seed)) == found.sample(rng_of(seed))
    generator = rng_of(seed)
    arch = found.sample(generator)
    assert len({found.sample(generator).text for _ in range(8)}) > 1
    assert found.mutate(arch, rng_of(seed)) == found.mutate(arch, rng_of(seed))


@settings(max_examples=5, deadline=None)
@given(seed=seeds)
def test_mutation_is_a_neighbor(found, seed):
    generator = rng_of(seed)
    arch = found.sample(generator)
    other = found.mutate(arch, generator)
    neighbors = found.neighbors(arch)
    assert other != arch
    assert other in neighbors
    assert arch not in neighbors
    assert len({one.text for one in neighbors}) == len(neighbors)
    # A block that is taken away takes its decisions with it.
    if len(different(found.to_params(arch), found.to_params(other))) == 1:
        assert arch in found.neighbors(other)


@settings(max_examples=4, deadline=None)
@given(seed=seeds)
def test_graphs_are_whole_networks(found, seed):
    arch = found.sample(rng_of(seed))
    for task in (None, *found.tasks):
        graph = found.to_graph(arch, task)
        assert (graph.ops[0], graph.ops[-1]) == ("Input", "Output")
        fed = {b for _, b in graph.edges}
        used = {a for a, _ in graph.edges}
        assert fed == set(range(1, len(graph)))
        assert used == set(range(len(graph) - 1))
        assert np.isfinite(graph.attributes).all()
        assert graph.total("flops") > 0
    assert np.array_equal(found.to_graph(arch).attributes, found.to_graphs([arch])[0].attributes)


def test_optuna_suggests_from_the_distributions(found):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(2):
        trial = study.ask(found.distributions())
        found.validate(found.from_params(trial.params))
    study.enqueue_trial(found.to_params(found.sample(rng_of(0))))
    trial = study.ask(found.distributions())
    assert found.from_params(trial.params) == found.sample(rng_of(0))


def test_foreign_architectures_are_refused(found):
    arch = found.sample(rng_of(0))
    other = Architecture("other", arch.text, arch.arch_id, arch.key)
    broken = [other, Architecture(found.name, "x", "x", "x"), Architecture(found.name, "", "", ())]
    for bad in broken:
        for method in (found.validate, found.to_params, found.neighbors, found.to_graph):
            with pytest.raises(InputError, match="no architecture of"):
                method(bad)


@pytest.mark.parametrize("text", ["", "foo", "{", "[1, 2", "a=b", "x:y", "[" * 5000, "1;2", "é"])
def test_foreign_texts_are_refused_in_one_sentence(found, text):
    with pytest.raises(InputError) as caught:
        found.parse(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 900


def test_unknown_image_sets_are_refused(found):
    with pytest.raises(InputError, match="unknown image set 'mnist'"):
        found.to_graph(found.sample(rng_of(0)), "mnist")


def test_missing_and_wrong_parameters_are_named(found):
    params = found.to_params(found.sample(rng_of(0)))
    first = next(iter(params))
    with pytest.raises(InputError, match=f"{first!r} is missing"):
        found.from_params({n: v for n, v in params.items() if n != first})
    with pytest.raises(InputError, match="'wrong'"):
        found.from_params({**params, first: "wrong"})


# --- families ----------------------------------------------------------------------------------


@checked
@given(seed=seeds)
def test_decisions_that_do_not_count_change_nothing(family_space, seed):
    generator = rng_of(seed)
    arch = family_space.sample(generator)
    params = family_space.to_params(arch)
    other = dict(params)
    for decision in family_space.family.decisions:
        if all(params[name] in values for name, values in decision.needs):
            continue
        other[decision.name] = decision.choices[int(generator.integers(len(decision.choices)))]
        assert f"{decision.name}=" not in arch.text
    assert family_space.from_params(other) == arch
    needed = {n: v for n, v in params.items() if f"{n}=" in arch.text}
    if family_space.family.write is None:
        assert family_space.from_params(needed) == arch


def test_kernel_of_a_missing_block_has_no_influence():
    resnet = space("nnlqp:resnet")
    with_it = {**resnet.to_params(resnet.standard), "k_1_3": 7}
    assert resnet.from_params(with_it) == resnet.standard
    assert resnet.from_params({**with_it, "d_1": 3}) != resnet.from_params(
        {**with_it, "d_1": 3, "k_1_3": 3}
    )
    assert "k_1_3" not in resnet.standard.text
    small = space("nnlqp:mobilenetv3").standards["mobilenetv3_small"]
    # The sixth stage is the large variant's alone, and with it the kernels of its blocks.
    assert "_6" not in small.text


def test_no_decision_is_a_dummy(family_space):
    depths = {
        d.name: d.choices[-1] for d in family_space.family.decisions if d.name.startswith("d_")
    }
    params = {**family_space.family.defaults(), **depths}
    base = family_space.to_graph(family_space.from_params(params))
    for decision in family_space.family.decisions:
        others = [choice for choice in decision.choices if choice != params[decision.name]]
        graphs = (
            family_space.to_graph(family_space.from_params({**params, decision.name: other}))
            for other in others
        )
        assert any(
            graph.ops != base.ops
            or graph.edges != base.edges
            or not np.array_equal(graph.attributes, base.attributes)
            for graph in graphs
        ), decision


def test_text_may_leave_out_standard_choices():
    vgg = space("nnlqp:vgg")
    assert vgg.parse("vgg:") == vgg.parse("vgg16") == vgg.standard
    assert vgg.parse("d_1=1") == vgg.parse(" vgg: d_1 = 1 ") != vgg.standard
    assert vgg.parse("vgg11").text.startswith("vgg:d_1=1,")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("vgg:d_1", "'d_1' is no name=value"),
        ("vgg:d_9=1", "unknown decision 'd_9'"),
        ("vgg:d_1=9", "d_1 is '9', not one of 1, 2, 3, 4"),
        ("vgg:d_1=1,d_1=1", "'d_1' comes twice"),
        ("resnet:d_1=1", "unknown decision 'resnet:d_1'"),
    ],
)
def test_malformed_texts_of_a_family(text, words):
    with pytest.raises(InputError, match=words):
        space("nnlqp:vgg").parse(text)


def test_distributions_know_the_order_of_equal_steps():
    ints = distribution(Decision("k", (3, 5, 7), 3))
    assert (ints.low, ints.high, ints.step) == (3, 7, 2)
    assert distribution(Decision("d", (2,), 2)).single()
    uneven = distribution(Decision("e", (1, 3, 4, 6), 1))
    assert uneven.choices == (1, 3, 4, 6)
    assert distribution(Decision("se", (False, True), False)).choices == (False, True)
    assert distribution(Decision("w", (0.5, 1.0), 1.0)).choices == (0.5, 1.0)


def test_a_family_may_need_earlier_decisions_only():
    def build(net, chosen, classes):
        return net.linear(net.flatten(net.input), classes)

    late = Decision("a", (1, 2), 1, (("b", (1,)),))
    with pytest.raises(KeyError):
        Family("f", (late, Decision("b", (1, 2), 1)), build)


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


def test_ids_of_a_family_name_it_and_differ():
    for family in FAMILIES:
        one = space(f"nnlqp:{family}")
        archs = [one.sample(rng_of(seed)) for seed in range(30)]
        assert all(arch.arch_id.startswith(f"{family}-") for arch in archs)
        if family != "nasbench201":  # where two cells can be one network
            assert len({a.arch_id for a in archs}) == len({a.text for a in archs})


# --- finite spaces -----------------------------------------------------------------------------


def test_finite_spaces_are_listed_in_their_order():
    macro = space("macro")
    assert isinstance(macro, FiniteSpace)
    assert len(macro) == 6_561
    texts = [arch.text for arch in macro]
    assert texts == sorted(texts)
    assert len(set(texts)) == 6_561
    for position in (0, 1, 80, 6_560):
        assert macro.index(macro.parse(texts[position])) == position
    assert isinstance(space("nnlqp:nasbench201"), FiniteSpace)
    assert len(space("nnlqp:nasbench201")) == 15_625
    assert not isinstance(space("fbnet"), FiniteSpace)


# --- NAS-Bench-Macro ---------------------------------------------------------------------------


def test_macro_networks_are_the_benchmarks(mirror: Path):
    (file,) = mirror.glob("xiusu/NAS-Bench-Macro/*/data/nas-bench-macro_cifar10.json")
    data = json.loads(file.read_text())
    macro = space("macro")
    groups: dict[str, set[float]] = {}
    for arch in macro:
        graph = macro.to_graph(arch)
        entry = data[arch.text]
        convs = np.array([op == "Conv" for op in graph.ops])
        # Every convolution has a norm of two numbers a channel, of which folding leaves one.
        folded = graph.attribute("out_channels")[convs].sum()
        assert graph.total("params") + folded == entry["params"]
        assert graph.total("flops") == entry["flops"]
        groups.setdefault(arch.arch_id, set()).add(entry["mean_acc"])
    assert len(groups) == 3_969
    # The benchmark, too, gives one accuracy to all encodings of a network.
    assert all(len(accuracies) == 1 for accuracies in groups.values())


def test_macro_encoding():
    macro = space("macro")
    assert macro.to_params(macro.parse("02012100"))["block_2"] == "mb6_k5"
    assert macro.parse("00012100").arch_id != macro.parse("02012100").arch_id
    assert macro.parse("00010200").arch_id == macro.parse("00001200").arch_id
    # An identity into a stage is a convolution.
    assert macro.parse("00010200").arch_id != macro.parse("00100200").arch_id
    assert macro.to_graph(macro.parse("00000000")).ops.count("Conv") == 1 + 3 + 1
    for text in ("0201210", "02012103", "020121000", "٠٠٠٠٠٠٠٠"):
        with pytest.raises(InputError, match="eight digits"):
            macro.parse(text)


# --- Accel-NASBench ----------------------------------------------------------------------------


def accel_results(mirror: Path, step: int) -> list[dict]:
    (file,) = mirror.glob("afzalxo/Accel-NASBench/*/anb_dataset/anb_dataset_jsons.tar.gz")
    with tarfile.open(file) as archive:
        members = sorted((m for m in archive if m.isfile()), key=lambda m: m.name)
        return [json.loads(archive.extractfile(m).read()) for m in members[::step]]


def test_accel_networks_are_the_benchmarks(mirror: Path):
    accel = space("accel")
    results = accel_results(mirror, step=11)
    excited = 0
    for result in results:
        arch = accel.parse(json.dumps(result["architecture"]))
        assert accel.parse(arch.text) == arch
        assert accel.to_params(arch) == result["architecture"]
        graph = accel.to_graph(arch)
        size = graph.attribute("height") * graph.attribute("width")
        channels = graph.attribute("out_channels")
        ops = np.array(graph.ops)
        normed = (ops == "Conv") & (size > 1)
        pooled = {b: size[a] for a, b in graph.edges if graph.ops[b] == "GlobalAveragePool"}
        excited += len(pooled) > 1
        params = graph.total("params") + channels[normed].sum()
        assert params / 1e6 == pytest.approx(result["model_info"]["params"], abs=1e-9)
        # The benchmark's counter adds four for each normalised number, and pooling's sums.
        macs = graph.total("flops") + 4 * (channels * size)[normed].sum()
        macs += sum((pixels + 1) * channels[b] for b, pixels in pooled.items())
        assert macs / 1e6 == pytest.approx(result["model_info"]["macs"], abs=1e-9)
    assert len(results) > 450
    assert excited > 100


def test_accel_encoding():
    accel = space("accel")
    text = "e=6,4,6,6,6,1,1;k=3,5,3,5,5,3,3;l=1,2,3,3,2,2,2;se=0,0,0,1,0,0,0"
    params = accel.to_params(accel.parse(text))
    assert (params["block1_e"], params["block1_k"], params["block3_se"]) == (4, 5, True)
    assert accel.parse(text).text == text
    for bad, words in (
        (text.replace("l=1,2,3,3,2,2,2", "l=4,2,3,3,2,2,2"), "'block0_l' is 4, not one of 1, 2, 3"),
        (text.replace("se=0,", "se=2,"), "'block0_se' is 2, not one of false, true"),
        (text[:-2], "seven numbers each"),
        (text.replace("e=6", "e=-6", 1), "seven numbers each"),
        ('{"block0_e": 6}', "'block0_k' is None"),
    ):
        with pytest.raises(InputError, match=words):
            accel.parse(bad)
    assert accel.parse(text.replace("2,2,2;", "2,4,2;"))  # the one block with a fourth layer


# --- FBNet -------------------------------------------------------------------------------------

FBNET_0 = [7, 8, 1, 8, 4, 8, 8, 8, 7, 4, 1, 4, 7, 3, 2, 7, 3, 2, 4, 2, 4, 5]


def test_fbnet_encodings():
    fbnet = space("fbnet")
    arch = fbnet.parse(json.dumps(FBNET_0))
    assert arch.text.startswith("k5_e6|skip|k3_e1_g2|skip|")
    assert fbnet.parse(arch.text) == fbnet.parse(json.dumps(arch.text.split("|"))) == arch
    for bad, words in (
        (json.dumps(FBNET_0[:-1]), "the form is 22 of"),
        (json.dumps([*FBNET_0[:-1], 9]), "operation 9 in"),
        (json.dumps([*FBNET_0[:-1], True]), "operation True in"),
        (json.dumps([*FBNET_0[:-1], [1]]), r"operation \[1\] in"),
        (arch.text.replace("k5_e6", "k9_e6", 1), "operation 'k9_e6'"),
    ):
        with pytest.raises(InputError, match=words):
            fbnet.parse(bad)


def test_fbnet_skips_within_a_stage_do_not_count():
    fbnet = space("fbnet")
    ops = fbnet.parse(json.dumps(FBNET_0)).text.split("|")
    moved = [ops[0], ops[3], ops[2], ops[1], ops[4], *ops[5:]]
    assert ops[1] == ops[3] == "skip"
    moved[1:4] = ["skip", "skip", ops[2]]
    # The first of a stage is a convolution: two skips behind it may come in any order.
    assert fbnet.parse("|".join(moved)).arch_id == fbnet.parse("|".join(ops)).arch_id
    moved[1:4] = [ops[2], "skip", "skip"]
    assert fbnet.parse("|".join(moved)).arch_id != fbnet.parse("|".join(ops)).arch_id


def test_fbnet_macro_architecture():
    fbnet = space("fbnet")
    skips = fbnet.parse("|".join(["skip"] * 22))
    graph = fbnet.to_graph(skips)
    convs = [k for k, op in enumerate(graph.ops) if op == "Conv"]
    assert graph.attribute("out_channels")[convs].tolist() == [
        *(16, 24, 32, 64, 112, 184, 352, 1504),
    ]
    assert graph.attribute("height")[convs].tolist() == [32, 32, 16, 8, 8, 4, 4, 4]
    large = fbnet.to_graph(skips, "imagenet")
    assert large.attribute("height")[convs].tolist() == [112, 56, 28, 14, 14, 7, 7, 7]
    assert large.attribute("out_channels")[convs[-1]] == 1984
    assert large.attribute("out_channels")[-2] == 1000
    grouped = fbnet.to_graph(fbnet.parse("|".join(["k3_e1_g2"] + ["skip"] * 21)))
    assert grouped.ops[:9] == (
        *("Input", "Conv", "Relu", "Conv", "Relu", "Reshape", "Transpose", "Reshape", "Conv"),
    )
    assert grouped.attribute("groups")[[3, 8]].tolist() == [2, 16]


def test_fbnet_sizes_agree_with_the_cost_model_of_the_fpga(mirror: Path):
    torch = pytest.importorskip("torch")
    (folder,) = mirror.glob("HayeonLee/HELP/*/data/fbnet")
    archs = torch.load(folder / "arch.pt", weights_only=True)[:200]
    latency = torch.load(folder / "latency" / "fpga.pt", weights_only=True)[:200]
    fbnet = space("fbnet")
    flops = [fbnet.to_graph(fbnet.parse(json.dumps(one))).total("flops") for one in archs]
    assert rank_correlation(flops, latency) > 0.97


# --- Once-for-All ------------------------------------------------------------------------------

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
        ({**OFA_0, "ks": OFA_0["ks"][:-1]}, "the form is r=224"),
        ({"r": 204}, "the form is r=224"),
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
