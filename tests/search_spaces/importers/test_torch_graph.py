"""PyTorch modules as graphs, and that an ONNX export of the same module gives the same graph."""

import collections
import io
import logging
import warnings

import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nasplug.search_spaces import InputError
from nasplug.search_spaces.importers.onnx_graph import onnx_graph
from nasplug.search_spaces.importers.torch_graph import torch_graph

IMAGE = torch.zeros(1, 3, 32, 32)


class Basic(nn.Module):
    """Two residual blocks of ResNet, basic and bottleneck, with activations in place."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 7, 2, 3, bias=False)
        self.n0, self.n1, self.n2, self.n3, self.n4 = (
            nn.BatchNorm2d(width) for width in (16, 16, 8, 8, 32)
        )
        self.c1 = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.c2 = nn.Conv2d(16, 8, 1, bias=False)
        self.c3 = nn.Conv2d(8, 8, 3, 2, 1, bias=False)
        self.c4 = nn.Conv2d(8, 32, 1, bias=False)
        self.down = nn.Sequential(nn.Conv2d(16, 32, 1, 2, bias=False), nn.BatchNorm2d(32))
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        x = F.max_pool2d(self.relu(self.n0(self.stem(x))), 3, 2, 1)
        y = self.n1(self.c1(x))
        y += x
        x = self.relu(y)
        y = self.relu(self.n2(self.c2(x)))
        y = self.n4(self.c4(self.relu(self.n3(self.c3(y)))))
        x = self.relu(y + self.down(x))
        return self.head(
            F.dropout(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1), 0.1, self.training)
        )


class Inverted(nn.Module):
    """An inverted residual with squeeze-and-excitation, of MobileNetV3 and of EfficientNet."""

    def __init__(self, swish):
        super().__init__()
        self.swish = swish
        self.expand, self.n1 = nn.Conv2d(3, 24, 1, bias=False), nn.BatchNorm2d(24)
        self.depthwise = nn.Conv2d(24, 24, 5, 2, 2, groups=24, bias=False)
        self.n2 = nn.BatchNorm2d(24)
        self.squeeze, self.excite = nn.Conv2d(24, 6, 1), nn.Conv2d(6, 24, 1)
        self.project, self.n3 = nn.Conv2d(24, 12, 1, bias=False), nn.BatchNorm2d(12)
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        act = F.silu if self.swish else F.hardswish
        x = act(self.n2(self.depthwise(act(self.n1(self.expand(x))))))
        gate = self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True)), inplace=True))
        x = x * (torch.sigmoid(gate) if self.swish else F.hardsigmoid(gate))
        return self.head(F.relu6(self.n3(self.project(x))).mean([2, 3]))


class ConvNeXt(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.stem, self.n0 = nn.Conv2d(3, width, 4, 4), nn.LayerNorm(width)
        self.depthwise = nn.Conv2d(width, width, 7, 1, 3, groups=width)
        self.n1 = nn.LayerNorm(width, eps=1e-6)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x):
        x = self.n0(self.stem(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        y = self.n1(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.narrow(F.gelu(self.wide(y))) * self.scale
        return x + y.permute(0, 3, 1, 2)


class ViT(nn.Module):
    """A transformer block behind patches and a class token; attention in several spellings."""

    def __init__(self, attention, width=32, heads=4):
        super().__init__()
        self.attention, self.heads = attention, heads
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.zeros(1, 17, width))
        self.n1, self.n2 = nn.LayerNorm(width), nn.LayerNorm(width)
        if attention == "module":
            self.mix = nn.MultiheadAttention(width, heads, batch_first=True)
        else:
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.head = nn.Linear(width, 10)

    def mixed(self, x):
        if self.attention == "module":
            return self.mix(x, x, x, need_weights=False)[0]
        b, n, c = x.shape
        size = c // self.heads
        qkv = self.qkv(x).reshape(b, n, 3, self.heads, size).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        if self.attention == "fused":
            y = F.scaled_dot_product_attention(q, k, v)
        elif self.attention == "causal":
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            y = ((q * size**-0.5) @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.out(y.transpose(1, 2).reshape(b, n, c))

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        x = x + self.mixed(self.n1(x))
        x = x + self.narrow(F.gelu(self.wide(self.n2(x)), approximate="tanh"))
        return self.head(x[:, 0])


class Toy(nn.Module):
    """What else a user may write."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 5, padding=2)
        self.groups, self.slope = nn.GroupNorm(4, 16), nn.PReLU(16)
        self.up, self.instance = nn.ConvTranspose2d(16, 8, 2, 2), nn.InstanceNorm2d(8, affine=True)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8 * 8 * 8, 10)

    def forward(self, x):
        y = self.slope(self.groups(torch.cat([self.a(x), self.b(x)], 1)))
        u, v = y.chunk(2, 1)
        y = torch.cat([v, u], 1)
        y = F.avg_pool2d(y, 3, 2, 1)[:, :, 1:9, 1:9]
        y = self.norm(self.instance(F.mish(self.up(F.leaky_relu(y)))))
        y = F.interpolate(y, scale_factor=0.5, mode="bilinear")
        z = F.log_softmax(F.pad(F.pixel_shuffle(y, 2), (0, 1, 0, 1)), 1)
        first, second = torch.split(y, [3, 5], 1)
        return (
            self.head(torch.flatten(y, 1)),
            z.sum((1, 2, 3)),
            F.adaptive_avg_pool2d(y, 4),
            torch.clamp(y, 0, 1).pow(2),
            torch.rsqrt(y.abs() + 1),
            F.adaptive_max_pool2d(y, 1),
            1 - first * 2,
            second / second.exp(),
            torch.roll(y, 3, 2),
        )


class Spelled(nn.Module):
    """Operators that a user writes out by hand."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)
        self.weight = nn.Parameter(torch.ones(8))
        self.wide = nn.Conv1d(8, 6, 3, padding=1)

    def forward(self, x):
        x = self.conv(x)
        x = x * F.relu6(x + 3) / 6
        x = x * torch.sigmoid(x)
        x = 0.5 * x * (1 + torch.erf(x / 2**0.5))
        rows = x.flatten(2).transpose(1, 2)
        rows = rows * torch.rsqrt(rows.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight
        scores = torch.einsum("bnc,bmc->bnm", rows, rows)
        return self.head(scores.softmax(-1) @ rows), self.wide(rows.transpose(1, 2)).mean(2)


class Published(nn.Module):
    """Operators that published networks use beside those above."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x):
        x = self.conv(x)
        return (
            F.normalize(x, dim=1),
            x * x.mean((2, 3), keepdim=True).expand_as(x),
            x.var(3, unbiased=False),
            x.flip(3),
            F.glu(x, 1),
        )


MODULES = {
    "basic": Basic,
    "hard-swish": lambda: Inverted(swish=False),
    "silu": lambda: Inverted(swish=True),
    "convnext": ConvNeXt,
    "vit module": lambda: ViT("module"),
    "vit fused": lambda: ViT("fused"),
    "vit causal": lambda: ViT("causal"),
    "vit by hand": lambda: ViT("by hand"),
    "toy": Toy,
    "spelled": Spelled,
    "published": Published,
}


def built(name):
    """The module in evaluation mode with random weights: exporters drop a bias of zeros."""
    torch.manual_seed(0)
    module = MODULES[name]().eval()
    with torch.no_grad():
        for weight in (*module.parameters(), *module.buffers()):
            if weight.is_floating_point():
                weight.uniform_(0.5, 1.0)
    return module


def exported(module, example=IMAGE, **options):
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if options.get("dynamo"):
            torch.onnx.export(module, (example,), verbose=False, **options).save(file)
        else:
            torch.onnx.export(module, (example,), file, **options)
    return onnx.load_from_string(file.getvalue())


@pytest.fixture(scope="module", autouse=True)
def _quiet():
    """The exporters tell of their progress."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def rows(graph):
    return collections.Counter(
        (op, *map(int, row)) for op, row in zip(graph.ops, graph.attributes, strict=True)
    )


def same(one, other):
    """Whether two graphs have equal nodes, as an engine runs them, and are isomorphic."""
    one, other = one.executed, other.executed
    assert rows(one) - rows(other) == rows(other) - rows(one) == collections.Counter()
    assert one.canonical_hash == other.canonical_hash


@pytest.mark.parametrize("name", MODULES)
def test_the_graph_of_an_onnx_export(name):
    module = built(name)
    same(torch_graph(module, IMAGE), onnx_graph(exported(module, dynamo=False)))


# Operators that ONNX got later: LayerNormalization with 17, Gelu with 20.
@pytest.mark.parametrize("name", ["convnext", "vit fused", "toy", "spelled"])
def test_the_graph_of_an_old_onnx_export(name):
    module = built(name)
    file = exported(module, dynamo=False, opset_version=14)
    assert not {"LayerNormalization", "Gelu"} & {node.op_type for node in file.graph.node}
    same(torch_graph(module, IMAGE), onnx_graph(file))


# The exporter takes seconds a module.
@pytest.mark.parametrize(
    "name",
    [
        name if name == "vit fused" else pytest.param(name, marks=pytest.mark.slow)
        for name in MODULES
    ],
)
def test_the_graph_of_a_dynamo_export(name):
    module = built(name)
    same(torch_graph(module, IMAGE), onnx_graph(exported(module, dynamo=True)))


class TestCanonicalForm:
    def test_residual_blocks(self):
        graph = torch_graph(built("basic"), IMAGE)
        assert collections.Counter(graph.ops) == collections.Counter(
            ["Input", "Output", "MaxPool", "GlobalAveragePool", "Reshape", "Gemm"]
            + ["Conv"] * 6
            + ["Relu"] * 5
            + ["Add"] * 2
        )

    def test_parameters_and_macs_are_those_of_the_module(self):
        module = Inverted(swish=False)
        graph = torch_graph(module, IMAGE)
        parameters = sum(p.numel() for p in module.parameters())
        assert graph.total("params") == parameters
        # Folding a BatchNorm leaves one bias a channel of its scale and shift.
        folded = sum(norm.num_features for norm in (module.n1, module.n2, module.n3))
        assert graph.executed.total("params") == parameters - folded
        macs = 32 * 32 * 3 * 24 + 16 * 16 * (24 * 25 + 24 * 12) + 2 * 24 * 6 + 12 * 5
        assert graph.total("flops") == macs
        assert graph.ops.count("HardSwish") == 2

    def test_attention(self):
        fused = torch_graph(built("vit fused"), IMAGE)
        same(fused, torch_graph(built("vit by hand"), IMAGE))
        assert fused.ops.count("MatMul") == 2
        assert not {"Mul", "Div"} & set(fused.ops)
        spans = [
            int(f)
            for op, f in zip(fused.ops, fused.attribute("flops"), strict=True)
            if op == "MatMul"
        ]
        assert spans == [4 * 17 * 17 * 8] * 2

    def test_what_is_written_out_by_hand(self):
        ops = torch_graph(built("spelled"), IMAGE).ops
        assert {"HardSwish", "Silu", "Gelu", "RMSNormalization"} <= set(ops)
        assert not {"Erf", "Sigmoid", "Clip", "Mul", "Div", "Sqrt"} & set(ops)


class Writing(nn.Module):
    """Writes in place, through another name and through a view."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        y = self.conv(x)
        if self.how == "name":
            alias = y.mul_(2)
            y.relu_()
            return alias.exp()
        if self.how == "viewed":
            part = y[:, :2]
            y.relu_()
            return part.exp()
        if self.how == "view":
            y[:, :2].relu_()
            return y.exp()
        x.relu_()
        return self.conv(x)


class TestInPlace:
    def test_under_another_name(self):
        ops = torch_graph(Writing("name"), IMAGE).ops
        assert ops == ("Input", "Conv", "Mul", "Relu", "Exp", "Output")

    def test_on_the_input(self):
        assert torch_graph(Writing("input"), IMAGE).ops == ("Input", "Relu", "Conv", "Output")

    def test_under_a_view(self):
        ops = torch_graph(Writing("viewed"), IMAGE).ops
        assert ops == ("Input", "Conv", "Relu", "Slice", "Exp", "Output")

    @pytest.mark.filterwarnings("ignore:.*unknown cost")
    def test_through_a_view(self):
        ops = torch_graph(Writing("view"), IMAGE).ops
        assert ops.index("Relu") < ops.index("Exp")
        assert "Slice" in ops


class TestPublishedNetworks:
    """What timm's networks do, in modules of a few lines."""

    def test_a_query_that_does_not_depend_on_the_image(self):
        class Pooling(nn.Module):
            def __init__(self):
                super().__init__()
                self.patches, self.latent = (
                    nn.Conv2d(3, 16, 8, 8),
                    nn.Parameter(torch.ones(1, 2, 16)),
                )

            def forward(self, x):
                tokens = self.patches(x).flatten(2).transpose(1, 2)
                heads = [t.unflatten(2, (4, 4)).transpose(1, 2) for t in (self.latent, tokens)]
                return F.scaled_dot_product_attention(heads[0], heads[1], heads[1])

        graph = torch_graph(Pooling(), IMAGE)
        spans = dict(zip(graph.ops, graph.attribute("flops"), strict=True))
        # Four heads of two queries over sixteen patches, four numbers each.
        assert spans["Gemm"] == spans["MatMul"] == 4 * 2 * 16 * 4
        assert graph.ops.count("Softmax") == 1

    def test_scale_and_shift_in_one_call(self):
        class Affine(nn.Module):
            def __init__(self):
                super().__init__()
                self.scale, self.shift = (nn.Parameter(torch.ones(1, 3, 1, 1)) for _ in range(2))

            def forward(self, x):
                return torch.addcmul(self.shift, self.scale, x)

        graph = torch_graph(Affine(), IMAGE)
        assert graph.ops == ("Input", "Mul", "Add", "Output")
        assert graph.executed.attribute("params").tolist() == [0, 3, 3, 0]
        assert graph.total("params") == 6

    def test_a_tensor_shaped_like_another_is_no_data(self):
        class Like(nn.Module):
            def forward(self, x):
                return x.exp() + torch.zeros_like(x.sin())

        assert torch_graph(Like(), IMAGE).ops == ("Input", "Exp", "Add", "Output")

    def test_a_norm_over_channels_by_hand(self):
        class Norm(nn.Module):
            def forward(self, x):
                variance, mean = torch.var_mean(x, dim=1, unbiased=False, keepdim=True)
                return (x - mean) * torch.rsqrt(variance + 1e-6)

        assert torch_graph(Norm(), IMAGE).ops == ("Input", "LayerNormalization", "Output")

    def test_filling_under_a_mask(self):
        class Masked(nn.Module):
            def forward(self, x):
                return x.masked_fill(x > 1, 0.5)

        assert torch_graph(Masked(), IMAGE).ops == ("Input", "Greater", "Where", "Output")

    def test_unbiased_variance_of_everything(self):
        class Spread(nn.Module):
            def forward(self, x):
                return x.std(), x.var(dim=(2, 3), keepdim=True)

        graph = torch_graph(Spread(), IMAGE)
        assert collections.Counter(graph.ops) == collections.Counter(
            ["Input", "Output", "Sqrt", *["ReduceMean", "GlobalAveragePool", "Sub", "Mul"] * 2]
        )

    def test_what_is_computed_from_constants(self):
        class Position(nn.Module):
            def forward(self, x):
                grid = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
                return x + torch.stack(grid).sum(0).to(x.dtype) + x.new_zeros(32)

        assert torch_graph(Position(), IMAGE).ops == ("Input", "Add", "Add", "Output")


class TestUse:
    def test_casts(self):
        class Cast(nn.Module):
            def forward(self, x):
                return x.half().relu().float(), x.int()

        graph = torch_graph(Cast(), IMAGE)
        assert graph.ops == ("Input", "Cast", "Relu", "Cast", "Cast", "Output")
        assert graph.types == ("float32", "float16", "float16", "float32", "int32", "float32")

    def test_the_module_is_left_as_it_was(self):
        module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout()).train()
        module[1].eval()
        before = {name: value.clone() for name, value in module.state_dict().items()}
        assert torch_graph(module, IMAGE).ops == ("Input", "Conv", "Output")
        assert [part.training for part in module.modules()] == [True, True, False, True]
        assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())

    def test_one_image_of_a_batch(self):
        module = built("silu")
        same(torch_graph(module, IMAGE), torch_graph(module, torch.zeros(5, 3, 32, 32)))

    def test_several_inputs(self):
        class Two(nn.Module):
            def forward(self, image, vector):
                return image + vector[:, :, None, None]

        graph = torch_graph(Two(), (IMAGE, torch.zeros(1, 3)))
        assert collections.Counter(graph.ops) == collections.Counter(
            ["Input", "Input", "Reshape", "Add", "Output"]
        )

    def test_an_operator_of_unknown_cost(self):
        class Odd(nn.Module):
            def forward(self, x):
                return torch.linalg.qr(x)[0]

        with pytest.warns(UserWarning, match="module Odd has operators of unknown cost.*linalg_qr"):
            graph = torch_graph(Odd(), IMAGE)
        assert graph.total("bytes") > 0

    def test_refused(self):
        class Branch(nn.Module):
            def forward(self, x):
                return x if x.sum() > 0 else -x

        class Constant(nn.Module):
            def forward(self, x):
                return torch.ones(3)

        with pytest.raises(
            InputError,
            match=r"module Branch cannot be read: .*test_torch_graph.py:\d+ \(return x if",
        ) as caught:
            torch_graph(Branch(), IMAGE)
        assert "\n" not in str(caught.value)
        with pytest.raises(InputError, match="module Conv2d cannot be read: conv2d of .* fails: "):
            torch_graph(nn.Conv2d(4, 4, 1), IMAGE)
        with pytest.raises(InputError, match="nothing that depends"):
            torch_graph(Constant(), IMAGE)
        with pytest.raises(InputError, match="expected a torch.nn.Module, got a function"):
            torch_graph(built, IMAGE)
        for example in ((), "x", [1]):
            with pytest.raises(InputError, match="tensor"):
                torch_graph(nn.ReLU(), example)


class LikeAnother(nn.Module):
    """Constants that take the type and the shape of what is computed."""

    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.ones(1, 8))

    def forward(self, x):
        rows = x.flatten(1)[:, :8]
        return rows + self.table.type_as(rows) * self.table.expand_as(rows)


def test_a_constant_like_a_computed_tensor_is_a_constant():
    graph = torch_graph(LikeAnother(), torch.zeros(1, 3, 4, 4))
    assert "Cast" not in graph.ops
    assert graph.ops.count("Mul") == 0
    assert "Add" in graph.ops
