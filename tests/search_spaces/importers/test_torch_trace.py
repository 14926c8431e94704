"""Forward passes that are recorded without values: what is left untouched, and what is read."""

import dataclasses
import random
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from nasplug.search_spaces import InputError
from nasplug.search_spaces.importers.torch_graph import torch_graph, torch_network

IMAGE = torch.zeros(1, 3, 32, 32)
TOKENS = torch.zeros(1, 10, 16)


def module_of(forward, **parts):
    """Module with the given parts, whose forward pass is a function of it and its inputs."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            for name, part in parts.items():
                setattr(self, name, part)

        def forward(self, *args, **kwargs):
            return forward(self, *args, **kwargs)

    return Net()


class TestUntouched:
    def test_random_generators(self):
        draw = np.random.rand
        net = module_of(lambda s, x: x + torch.rand(3) + draw() + random.random())
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002
        random.seed(0)
        legacy = np.random.get_state
        state = torch.get_rng_state(), legacy()[1].copy(), random.getstate()
        torch_graph(net, torch.zeros(1, 3))
        assert torch.equal(torch.get_rng_state(), state[0])
        assert np.array_equal(legacy()[1], state[1])
        assert random.getstate() == state[2]

    def test_attributes_hooks_and_modes(self):
        def forward(self, x):
            if self.grid is None:
                self.grid = torch.arange(32.0)
            self.calls += 1
            self.outputs.append(x)
            self.hook = self.conv.register_forward_hook(lambda *_: None)
            self.buffer[:, 0] = x[0, 0, 0, 0]
            return self.conv(x + self.grid)

        net = module_of(forward, conv=nn.Conv2d(3, 4, 1), grid=None, calls=0, outputs=[])
        net.register_buffer("buffer", torch.ones(2, 2))
        net.train()
        net.conv.eval()
        hooks = net.conv.register_forward_pre_hook(lambda *_: None)
        torch_graph(net, IMAGE)
        assert net.grid is None
        assert net.calls == 0
        assert net.outputs == []
        assert not hasattr(net, "hook")
        assert not net.conv._forward_hooks
        assert list(net.conv._forward_pre_hooks) == [hooks.id]
        assert torch.equal(net.buffer, torch.ones(2, 2))
        assert (net.training, net.conv.training) == (True, False)

    def test_the_module_still_runs(self):
        net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)).train()
        torch_graph(net, IMAGE)
        assert net(torch.ones(2, 3, 8, 8)).requires_grad

    def test_a_failing_pass(self):
        def forward(self, x):
            self.calls = 1
            raise KeyError("absent")

        net = module_of(forward, calls=0).train()
        with pytest.raises(InputError, match=r"fails at .*test_torch_trace.py:\d+ .*KeyError"):
            torch_graph(net, IMAGE)
        assert net.calls == 0
        assert net.training

    def test_a_failing_module_of_pytorch_alone_names_no_line(self):
        net = nn.Sequential(nn.Conv2d(4, 8, 3))
        want = r"conv2d of tensors of shapes \[1, 3, 32, 32\], \[8, 4, 3, 3\], \[8\] fails: "
        with pytest.raises(InputError, match=want):
            torch_graph(net, IMAGE)

    def test_a_constant_that_is_kept_elsewhere_still_has_values(self):
        kept = []

        def forward(self, x):
            kept.append(torch.arange(3.0) * 2)
            return x + kept[-1]

        torch_graph(module_of(forward), torch.zeros(1, 3))
        assert (kept[0] + 1).tolist() == [1, 3, 5]


class TestExamples:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())

    def test_dictionaries_and_keywords(self):
        want = torch_graph(self.net, IMAGE).ops
        assert torch_graph(self.net, {"input": IMAGE}).ops == want
        assert torch_graph(self.net, (IMAGE,)).ops == want
        assert torch_graph(self.net, ((IMAGE,), {})).ops == want

        class TakesDictionary(nn.Module):
            def __init__(self, net):
                super().__init__()
                self.net = net

            def forward(self, batch):
                return self.net(batch["image"])

        takes_dictionary = TakesDictionary(self.net)
        assert torch_graph(takes_dictionary, {"image": IMAGE}).ops == want
        assert torch_graph(takes_dictionary, ({"image": IMAGE},)).ops == want

    def test_objects_go_in_and_come_out(self):
        class Cache:
            def __init__(self, keys):
                self.keys = keys

        @dataclasses.dataclass
        class Output:
            logits: torch.Tensor
            cache: object

        def forward(self, x, cache):
            cache.keys = torch.cat([cache.keys, x], 1)
            return Output(self.head(cache.keys), cache)

        cache = Cache(torch.zeros(1, 5, 16))
        net = module_of(forward, head=nn.Linear(16, 4))
        graph = torch_graph(net, (TOKENS, cache))
        assert graph.ops == ("Input", "Input", "Concat", "Gemm", "Output")
        assert graph.total("flops") == 15 * 16 * 4
        assert cache.keys.shape == (1, 5, 16)

    @pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
    def test_programs_and_wrappers(self):
        want = torch_graph(self.net, IMAGE)
        program = torch.export.export(self.net, (IMAGE,))
        compiled = torch.compile(self.net)
        traced, scripted = torch.jit.trace(self.net, IMAGE), torch.jit.script(self.net)
        for module in (program, program.module(), compiled, traced, scripted):
            assert torch_graph(module, IMAGE).ops == want.ops
            assert torch_graph(module, IMAGE).total("flops") == want.total("flops")
        assert torch_graph(program).ops == want.ops

    def test_parallel_modules_and_marks_of_a_profiler(self):
        def forward(self, x):
            with torch.profiler.record_function("head"):
                return self.head(x)

        net = module_of(forward, head=nn.Linear(16, 4))
        assert torch_graph(net, TOKENS).ops == ("Input", "Gemm", "Output")
        assert torch_graph(nn.DataParallel(net), TOKENS).ops == ("Input", "Gemm", "Output")

    def test_a_keyword_that_the_module_does_not_take(self):
        with pytest.raises(InputError, match="forward pass of Conv2d: .*'mask'"):
            torch_graph(nn.Conv2d(3, 8, 3), {"input": IMAGE, "mask": IMAGE})

    def test_values_of_integers_steer(self):
        def forward(self, x, lengths):
            return x[:, : int(lengths.max())] if lengths.sum() > 3 else x

        graph = torch_graph(module_of(forward), (TOKENS, torch.tensor([4])))
        assert graph.ops == ("Input", "Slice", "Output")
        assert graph.attribute("height").tolist()[:2] == [10, 4]

    def test_packed_sequences(self):
        def forward(self, x, lengths):
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
            return nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=True)[0]

        net = module_of(forward, rnn=nn.GRU(16, 8, batch_first=True))
        graph = torch_graph(net, (TOKENS, torch.tensor([10])))
        assert graph.total("flops") == 10 * 3 * 8 * (16 + 8)

    @pytest.mark.parametrize(
        "forward",
        [
            lambda s, x: x * float(x.mean()),
            lambda s, x: x[x > 0],
            lambda s, x: x.nonzero(),
            lambda s, x: torch.tensor(x.tolist()),
            lambda s, x: x + x.numpy().mean(),
            lambda s, x: torch.cond(x.sum() > 0, torch.neg, torch.abs, (x,)),
        ],
    )
    def test_values_of_floats_are_not_read(self, forward):
        with pytest.raises(InputError, match=r"depends on values .*test_torch_trace.py:\d+ "):
            torch_graph(module_of(forward), IMAGE)

    @pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
    def test_nested_tensors_are_refused(self):
        nested = torch.nested.nested_tensor([torch.zeros(2, 16), torch.zeros(3, 16)])
        with pytest.raises(InputError, match="nested tensor"):
            torch_graph(nn.Linear(16, 4), nested)

    def test_lazy_modules_are_refused(self):
        with pytest.raises(InputError, match="weight has no shape yet; run it once"):
            torch_graph(nn.LazyLinear(3), IMAGE)


class TestBatches:
    def test_images_are_independent(self):
        net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(7200, 3))
        read = torch_network(net, torch.zeros(8, 3, 32, 32))
        assert (read.batch, read.is_free) == (8, True)
        assert read.graph.total("flops") == torch_graph(net, IMAGE).total("flops")

    @pytest.mark.parametrize("batch_first", [False, True])
    def test_a_sequence_on_the_first_axis(self, batch_first):
        net = nn.TransformerEncoderLayer(16, 2, 32, batch_first=batch_first)
        example = TOKENS if batch_first else TOKENS.transpose(0, 1)
        read = torch_network(net, example)
        assert read.is_free == batch_first
        assert read.graph.total("flops") == 10 * (4 * 16 * 16 + 2 * 16 * 32) + 2 * 10 * 10 * 16

    def test_nodes_and_edges_of_a_graph_network(self):
        net = module_of(lambda s, x, e: s.a(x)[e[0]] + s.a(x)[e[1]], a=nn.Linear(64, 64))
        example = (torch.zeros(500, 64), torch.zeros(2, 3000, dtype=torch.long))
        assert torch_graph(net, example).total("flops") == 2 * 500 * 64 * 64

    def test_programs_that_were_exported_with_several_images(self):
        net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        program = torch.export.export(net, (torch.zeros(8, 3, 32, 32),))
        module = program.module()
        for network in (program, module):
            read = torch_network(network, torch.zeros(8, 3, 32, 32))
            assert (read.batch, read.is_free) == (8, True)
            assert read.graph.total("flops") == torch_graph(net, IMAGE).total("flops")
        with pytest.raises(Exception, match="8"):
            module(IMAGE)


class TestWeights:
    def test_products_of_weights_count_unless_they_are_folded(self):
        a, b = (nn.Parameter(torch.zeros(64, 32)) for _ in range(2))
        net = module_of(lambda s, x: x + (s.a @ s.b.T)[:1], a=a, b=b)
        example = torch.zeros(1, 64)
        graph = torch_graph(net, example)
        assert graph.total("flops") == 64 * 64 * 32
        assert graph.total("params") == 2 * 64 * 32
        assert torch_graph(net, example, folds=True).total("flops") == 0

    def test_shared_parameters_count_once(self):
        linear = nn.Linear(16, 16)
        graph = torch_graph(nn.Sequential(*[linear] * 20), torch.zeros(1, 16))
        assert graph.total("params") == 16 * 16 + 16
        assert graph.executed.total("params") == 20 * (16 * 16 + 16)

    @pytest.mark.parametrize(
        "parametrised",
        [
            torch.nn.utils.parametrizations.weight_norm,
            torch.nn.utils.parametrizations.spectral_norm,
            torch.nn.utils.spectral_norm,
        ],
    )
    def test_parametrised_weights(self, parametrised):
        net = parametrised(nn.Conv2d(3, 8, 3))
        graph = torch_graph(net, IMAGE)
        assert graph.ops == ("Input", "Conv", "Output")
        assert graph.total("params") == sum(p.numel() for p in net.parameters())

    def test_on_meta_nothing_is_stored(self):
        with torch.device("meta"):
            net = nn.Sequential(*(nn.Linear(50_000, 50_000) for _ in range(4)))
        graph = torch_graph(net, torch.zeros(1, 50_000))
        assert graph.total("flops") == 4 * 50_000**2
        assert graph.total("params") == sum(p.numel() for p in net.parameters())


class TestTypes:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(7200, 3))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_modules_of_other_types(self, dtype):
        graph = torch_graph(self.net.to(dtype), IMAGE.to(dtype))
        assert set(graph.types) == {str(dtype).removeprefix("torch.")}
        plain = torch_graph(self.net.float(), IMAGE)
        ratio = dtype.itemsize / 4
        assert graph.total("bytes") == ratio * plain.total("bytes")
        assert graph.executed.total("params") == ratio * plain.executed.total("params")

    def test_autocast(self):
        net = nn.Sequential(nn.Linear(16, 16), nn.LayerNorm(16), nn.Linear(16, 16), nn.Softmax(-1))
        graph = torch_graph(net, TOKENS, autocast="float16")
        types = dict(zip(graph.ops, graph.types, strict=True))
        assert types["Gemm"] == "float16"
        assert types["Softmax"] == "float32"
        assert not torch.is_autocast_enabled("cuda")
        with pytest.raises(InputError, match="autocast is 'half'"):
            torch_graph(net, TOKENS, autocast="half")

    def test_an_example_of_another_type_is_refused(self):
        with pytest.raises(InputError, match="should be the same"):
            torch_graph(nn.Conv2d(3, 8, 3).half(), IMAGE)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
    def test_quantised_by_torch_ao(self):
        from torch.ao import quantization

        torch.backends.quantized.engine = "fbgemm"
        linear = nn.Sequential(nn.Linear(16, 16), nn.ReLU())
        dynamic = quantization.quantize_dynamic(linear, {nn.Linear}, dtype=torch.qint8)
        graph = torch_graph(dynamic, TOKENS)
        assert graph.ops == ("Input", "Gemm", "Relu", "Output")
        assert graph.weight_types == ("", "int8", "", "")

        static = nn.Sequential(
            quantization.QuantStub(), nn.Conv2d(3, 8, 3), nn.ReLU(), quantization.DeQuantStub()
        ).eval()
        static.qconfig = quantization.get_default_qconfig("fbgemm")
        quantization.prepare(static, inplace=True)
        static(torch.randn(2, 3, 32, 32))
        quantization.convert(static, inplace=True)
        graph = torch_graph(static, IMAGE)
        assert graph.ops == (
            *("Input", "QuantizeLinear", "Conv", "Relu", "DequantizeLinear", "Output"),
        )
        assert graph.types == ("float32", "uint8", "uint8", "uint8", "float32", "float32")
        assert graph.weight_types[2] == "int8"
        assert graph.total("flops") == 8 * 27 * 900


class TestOperators:
    @pytest.mark.parametrize(
        ("layer", "flops"),
        [
            (nn.LSTM(64, 64), 50 * 4 * 64 * 128),
            (nn.LSTM(64, 32, 2, bidirectional=True), 2 * 50 * 2 * 4 * 32 * 96),
            (nn.LSTM(64, 32, proj_size=16), 50 * (4 * 32 * (64 + 16) + 32 * 16)),
            (nn.GRU(64, 32, batch_first=True), 50 * 3 * 32 * 96),
            (nn.RNN(64, 32), 50 * 32 * 96),
        ],
    )
    def test_recurrent_layers(self, layer, flops):
        batch_first = layer.batch_first
        graph = torch_graph(layer, torch.zeros(*((1, 50) if batch_first else (50, 1)), 64))
        assert graph.total("flops") == flops
        assert graph.total("params") == sum(p.numel() for p in layer.parameters())

    @pytest.mark.parametrize(("cell", "gates"), [(nn.LSTMCell, 4), (nn.GRUCell, 3)])
    def test_recurrent_cells(self, cell, gates):
        graph = torch_graph(cell(16, 8), torch.zeros(1, 16))
        assert graph.total("flops") == gates * 8 * (16 + 8)

    def test_composite_functions_are_read_by_their_parts(self):
        net = module_of(lambda s, x: torch.tensordot(x, s.w, dims=1), w=nn.Parameter(TOKENS[0].T))
        graph = torch_graph(net, TOKENS)
        assert graph.total("flops") == 10 * 16 * 10

    @pytest.mark.filterwarnings("ignore:.*flex_attention called without torch.compile")
    def test_flexible_attention(self):
        from torch.nn.attention.flex_attention import flex_attention

        query = torch.zeros(1, 2, 128, 16)
        graph = torch_graph(module_of(lambda s, q: flex_attention(q, q, q)), query)
        assert graph.total("flops") == 2 * 2 * 128 * 128 * 16

    def test_operators_of_the_users_own(self):
        @torch.library.custom_op("nasplug_test::twice", mutates_args=())
        def twice(x: torch.Tensor) -> torch.Tensor:
            return x * 2

        @twice.register_fake
        def _(x):
            return torch.empty_like(x)

        with pytest.warns(UserWarning, match="unknown cost.*nasplug_test.twice"):
            graph = torch_graph(module_of(lambda s, x: twice(x)), IMAGE)
        assert graph.ops == ("Input", "nasplug_test.twice", "Output")

    def test_writes_to_parts_of_a_tensor(self):
        def forward(self, x):
            y = torch.zeros(1, 8, 30, 30)
            y[:, :4] = self.conv(x)
            y[:, 4:].add_(1)
            return y

        net = module_of(forward, conv=nn.Conv2d(3, 4, 3))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = torch_graph(net, IMAGE)
        assert graph.ops[:3] == ("Input", "Conv", "ScatterND")
        assert graph.ops[-2:] == ("ScatterND", "Output")

    @pytest.mark.parametrize(
        ("forward", "ops"),
        [
            (lambda s, x: x.scatter(1, torch.zeros(1, 3, 9, 9).long(), 1.0), ["ScatterElements"]),
            (lambda s, x: torch.add(x, x, out=torch.empty(1, 3, 32, 32)), ["Add"]),
            (lambda s, x: torch.cat([x, x], 1, out=torch.empty(1, 6, 32, 32)), ["Concat"]),
            (lambda s, x: F.fold(F.unfold(x, 2, stride=2), 32, 2, stride=2), ["Gather", "Col2Im"]),
            (lambda s, x: F.one_hot(x.argmax(1), 3), ["ArgMax", "OneHot"]),
            (lambda s, x: F.grid_sample(x, torch.zeros(1, 8, 8, 2)), ["GridSample"]),
            (lambda s, x: x.logsumexp(1), ["ReduceLogSumExp"]),
            (lambda s, x: x * (1 + x.is_same_size(x)), ["Mul"]),
        ],
    )
    def test_names(self, forward, ops):
        assert list(torch_graph(module_of(forward), IMAGE).ops) == ["Input", *ops, "Output"]

    def test_shapes_change_in_place(self):
        def forward(self, x):
            y = self.conv(x)
            y.unsqueeze_(0)
            y.squeeze_(0)
            y.relu_()
            return y

        graph = torch_graph(module_of(forward, conv=nn.Conv2d(3, 4, 3)), IMAGE)
        assert graph.ops == ("Input", "Conv", "Relu", "Output")

    def test_values_of_constants(self):
        def forward(self, x):
            steps = torch.linspace(0, 1, 5).tolist()
            mask = torch.zeros(10, dtype=torch.bool)
            mask[2:5] = True
            return (x * steps[3])[:, mask], x[:, : int(mask.sum())]

        graph = torch_graph(module_of(forward), TOKENS)
        heights = dict(zip(graph.ops, graph.attribute("height"), strict=True))
        assert heights["Gather"] == heights["Slice"] == 3


def attention_by_hand(self, x):
    q, k, v = self.qkv(x).chunk(3, -1)
    return F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])


NETWORKS = {
    "cnn": (nn.Sequential(nn.Conv2d(3, 8, 3, 2, groups=1), nn.Conv2d(8, 8, 3, groups=8)), IMAGE),
    "transposed": (nn.ConvTranspose2d(3, 8, 4, 2, 1), IMAGE),
    "1d": (nn.Conv1d(16, 8, 5, padding="same", dilation=2), TOKENS.transpose(1, 2)),
    "3d": (nn.Conv3d(3, 4, 3), torch.zeros(1, 3, 8, 8, 8)),
    "encoder": (nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), TOKENS),
    "decoder": (nn.TransformerDecoderLayer(16, 2, 32, batch_first=True), (TOKENS, TOKENS)),
    "transformer": (nn.Transformer(16, 2, 1, 1, 32, batch_first=True), (TOKENS, TOKENS)),
    "multi-head": (nn.MultiheadAttention(16, 2, batch_first=True), (TOKENS, TOKENS, TOKENS)),
    "attention": (module_of(attention_by_hand, qkv=nn.Linear(16, 48)), TOKENS),
    "einsum": (module_of(lambda s, x: torch.einsum("bnc,bmc->bnm", x, x)), TOKENS),
    "products": (
        module_of(lambda s, x: torch.baddbmm(x, x @ s.w, x), w=nn.Parameter(torch.zeros(16, 10))),
        TOKENS,
    ),
    "position": (
        module_of(lambda s, x: x + s.mlp(s.grid), mlp=nn.Linear(2, 16), grid=torch.zeros(10, 2)),
        TOKENS,
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_flops_of_an_independent_counter(name):
    net, example = NETWORKS[name]
    net.eval()
    inputs = example if isinstance(example, tuple) else (example,)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        net(*inputs)
    graph = torch_graph(net, example)
    assert graph.total("flops") == pytest.approx(counter.get_total_flops() / 2, rel=0.01)
    assert graph.total("params") == sum(p.numel() for p in net.parameters())


def test_no_compiler_is_loaded():
    """The compiler takes over a second to import."""
    code = (
        "import sys, torch; from torch import nn\n"
        "from nasplug.search_spaces.importers.torch_graph import torch_graph\n"
        "net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),"
        " nn.Linear(7200, 8), nn.LayerNorm(8), nn.GELU())\n"
        "torch_graph(net, torch.zeros(1, 3, 32, 32))\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
