"""Feed damaged ONNX files to the reader: each must give a graph or an `InputError`.

Starts from small valid models, damages bytes or the message, and reads the result in batches, each
in a process of its own, so that a crash of the process is found too. Anything else than a graph
or an `InputError`, an abort, and an input that takes longer than `--slow` seconds is a finding,
kept under `--keep`.
"""

from __future__ import annotations

import faulthandler
import json
import multiprocessing
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from experiments.campaign import Options
from experiments.common import write_result
from nasplug.search_spaces import Graph, InputError
from nasplug.search_spaces.importers.onnx_graph import onnx_graph

try:
    import resource
except ImportError:  # Not on Windows, where memory is not limited.
    resource = None  # type: ignore[assignment]

BATCH = 250
MEMORY_BYTES = 4 * 2**30
STRANGE_SIZES = (-1, 0, 1, 2, 3, 7, 255, 2**16, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1, -(2**63))
STRANGE_TEXT = ("", "x", "Conv", "Loop", "ai.onnx.ml", "\x00", "é", "a" * 5_000)
Damage = Callable[[random.Random, onnx.ModelProto], None]
n = helper.make_node


# -------------------------------------------------------------------------------------- seeds


def _tensor(name: str, shape: list[int], values: list[int] | None = None) -> TensorProto:
    if values is not None:
        return helper.make_tensor(name, TensorProto.INT64, shape, values)
    count = 1
    for size in shape:
        count *= size
    return helper.make_tensor(name, TensorProto.FLOAT, shape, [0.5] * count)


def _model(
    nodes: list[onnx.NodeProto], constants: list[TensorProto], rank: int = 4, opset: int = 17
) -> onnx.ModelProto:
    shape = {4: ["N", 3, 16, 16], 3: [1, 9, 16], 2: [1, 16]}[rank]
    graph = helper.make_graph(
        nodes,
        "seed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def seeds() -> list[onnx.ModelProto]:
    """Small valid models that reach each part of the reader."""
    return [_convolutions(), _shapes(), _attention(), _functions()]


def _convolutions() -> onnx.ModelProto:
    return _model(
        [
            n("Conv", ["x", "w", "b"], ["c"], kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2]),
            n("BatchNormalization", ["c", "s", "b", "b", "s"], ["d"]),
            n("Sigmoid", ["d"], ["g"]),
            n("Mul", ["d", "g"], ["e"]),
            n("MaxPool", ["e"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
            n("Split", ["p"], ["p1", "p2"], axis=1),
            n("Concat", ["p2", "p1"], ["q"], axis=1),
            n("GlobalAveragePool", ["q"], ["r"]),
            n("Flatten", ["r"], ["f"]),
            n("Gemm", ["f", "m", "b"], ["y"], transB=1),
        ],
        [_tensor("w", [4, 3, 3, 3]), _tensor("b", [4]), _tensor("s", [4]), _tensor("m", [4, 4])],
    )


def _shapes() -> onnx.ModelProto:
    return _model(
        [
            n("Shape", ["x"], ["s"]),
            n("Gather", ["s", "zero"], ["batch"], axis=0),
            n("Unsqueeze", ["batch", "axes"], ["b1"]),
            n("Concat", ["b1", "minus"], ["target"], axis=0),
            n("Reshape", ["x", "target"], ["r"]),
            n("Slice", ["r", "starts", "ends", "axes1", "steps"], ["t"]),
            n("Pad", ["t", "pads"], ["u"]),
            n("Clip", ["u"], ["v"]),
            n("ReduceMean", ["v"], ["y"], axes=[1], keepdims=0),
        ],
        [
            _tensor("zero", [], [0]),
            _tensor("axes", [1], [0]),
            _tensor("minus", [1], [-1]),
            _tensor("starts", [1], [1]),
            _tensor("ends", [1], [9]),
            _tensor("axes1", [1], [1]),
            _tensor("steps", [1], [1]),
            _tensor("pads", [4], [0, 1, 0, 1]),
        ],
    )


def _attention() -> onnx.ModelProto:
    numbers = (("scale", 0.35), ("two", 2.0), ("root", 2**0.5), ("one", 1.0), ("half", 0.5))
    attention = _model(
        [
            n("MatMul", ["x", "w"], ["h"]),
            n("Reshape", ["h", "heads"], ["a"]),
            n("Transpose", ["a"], ["q"], perm=[0, 2, 1, 3]),
            n("Transpose", ["q"], ["k"], perm=[0, 1, 3, 2]),
            n("Mul", ["q", "scale"], ["qs"]),
            n("MatMul", ["qs", "k"], ["l"]),
            n("Softmax", ["l"], ["p"], axis=-1),
            n("MatMul", ["p", "q"], ["o"]),
            n("ReduceMean", ["o"], ["mean"], axes=[-1]),
            n("Sub", ["o", "mean"], ["centred"]),
            n("Pow", ["centred", "two"], ["square"]),
            n("ReduceMean", ["square"], ["variance"], axes=[-1]),
            n("Add", ["variance", "scale"], ["v1"]),
            n("Sqrt", ["v1"], ["deviation"]),
            n("Div", ["centred", "deviation"], ["normal"]),
            n("Div", ["normal", "root"], ["e1"]),
            n("Erf", ["e1"], ["e2"]),
            n("Add", ["e2", "one"], ["e3"]),
            n("Mul", ["normal", "e3"], ["e4"]),
            n("Mul", ["e4", "half"], ["e5"]),
            n("Einsum", ["e5", "q"], ["e6"], equation="bhld,bhsd->bhls"),
            n("Resize", ["e6", "", "scales"], ["e7"]),
            n("Expand", ["e7", "heads"], ["y"]),
        ],
        [
            _tensor("w", [16, 16]),
            _tensor("heads", [4], [1, 9, 2, 8]),
            *(helper.make_tensor(name, TensorProto.FLOAT, [], [value]) for name, value in numbers),
            helper.make_tensor("scales", TensorProto.FLOAT, [4], [1.0, 1.0, 2.0, 2.0]),
        ],
        rank=3,
        opset=13,
    )
    attention.graph.node.pop()
    attention.graph.node[-1].output[0] = "y"
    return attention


def _functions() -> onnx.ModelProto:
    function = helper.make_function(
        "own", "twice", ["a"], ["b"], [n("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    custom = _model(
        [
            n("twice", ["x"], ["t"], domain="own"),
            n("Strange", ["t", "w"], ["u"], domain="com.example", size=3),
            n("Dropout", ["u"], ["v"]),
            n("TopK", ["v", "one"], ["top", "where"], axis=2),
            n("ConstantOfShape", ["shape"], ["zeros"]),
            n("Cast", ["zeros"], ["c"], to=1),
            n("Add", ["u", "c"], ["z"]),
            n("Sum", ["z", "top"], ["y"]),
        ],
        [_tensor("w", [1, 16, 3]), _tensor("shape", [2], [16, 16]), _tensor("one", [1], [1])],
    )
    custom.functions.append(function)
    custom.opset_import.append(helper.make_opsetid("own", 1))
    return custom


# ------------------------------------------------------------------------------------- damage


def _pick(rng: random.Random, many: Any) -> Any:
    return many[rng.randrange(len(many))] if len(many) else None


def _names(model: onnx.ModelProto) -> list[str]:
    names = [value.name for value in model.graph.input]
    names += [tensor.name for tensor in model.graph.initializer]
    names += [output for node in model.graph.node for output in node.output]
    return names or ["x"]


def _rewire(rng: random.Random, model: onnx.ModelProto) -> None:
    node = _pick(rng, model.graph.node)
    if node is None:
        return
    names = node.input if rng.random() < 0.7 else node.output
    word = rng.choice([*_names(model), *STRANGE_TEXT])
    if len(names) and rng.random() < 0.8:
        names[rng.randrange(len(names))] = word
    elif rng.random() < 0.5:
        names.append(word)
    else:
        del names[:]


def _other_operator(rng: random.Random, model: onnx.ModelProto) -> None:
    node = _pick(rng, model.graph.node)
    if node is not None:
        schemas = [schema.name for schema in onnx.defs.get_all_schemas()]
        node.op_type = rng.choice([*schemas, *STRANGE_TEXT])
        if rng.random() < 0.1:
            node.domain = rng.choice(STRANGE_TEXT)


def _other_attribute(rng: random.Random, model: onnx.ModelProto) -> None:
    node = _pick(rng, model.graph.node)
    if node is None:
        return
    names = ["axis", "perm", "kernel_shape", "strides", "pads", "group", "to", "axes", "equation"]
    name = rng.choice([*names, *(attribute.name for attribute in node.attribute)])
    others = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend(others)
    sizes = [rng.choice(STRANGE_SIZES) for _ in range(rng.randrange(6))]
    value = rng.choice([sizes, rng.choice(STRANGE_SIZES), 1.5, float("nan"), "text", [0.5], None])
    if value is None:
        node.attribute.append(onnx.AttributeProto(name=name, type=rng.randrange(15)))
    else:
        attribute_type = onnx.AttributeProto.INTS if value == [] else None
        node.attribute.append(helper.make_attribute(name, value, attr_type=attribute_type))


def _other_sizes(rng: random.Random, model: onnx.ModelProto) -> None:
    tensor = _pick(rng, model.graph.initializer)
    if rng.random() < 0.5 and tensor is not None:
        if len(tensor.dims) and rng.random() < 0.7:
            tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(STRANGE_SIZES)
        elif rng.random() < 0.5:
            tensor.dims.append(rng.choice(STRANGE_SIZES))
        else:
            del tensor.dims[:]
        return
    value = _pick(rng, model.graph.input)
    if value is not None:
        dims = value.type.tensor_type.shape.dim
        for dim in dims:
            if rng.random() < 0.4:
                dim.dim_value = rng.choice(STRANGE_SIZES)
        if rng.random() < 0.2:
            dims.add().dim_value = rng.choice(STRANGE_SIZES)
        elif rng.random() < 0.1:
            value.type.ClearField("tensor_type")


def _other_values(rng: random.Random, model: onnx.ModelProto) -> None:
    whole = [t for t in model.graph.initializer if t.data_type == TensorProto.INT64]
    tensor = _pick(rng, whole)
    if tensor is not None:
        values = [rng.choice(STRANGE_SIZES) for _ in range(rng.randrange(1, 5))]
        if rng.random() < 0.5:
            values = [rng.choice((-1, 0, 1, 2, 3, 9)) for _ in tensor.int64_data]
        name = tensor.name
        tensor.CopyFrom(_tensor(name, [len(values)], values))


def _damage_tensor(rng: random.Random, model: onnx.ModelProto) -> None:
    tensor = _pick(rng, model.graph.initializer)
    if tensor is None:
        return
    choice = rng.randrange(4)
    if choice == 0:
        tensor.data_type = rng.randrange(-1, 40)
    elif choice == 1:
        tensor.raw_data = rng.randbytes(rng.randrange(20))
    elif choice == 2:
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", rng.choice(["/etc/hostname", "../x", "weights.bin"])
    else:
        for kind in ("float_data", "int64_data", "raw_data"):
            tensor.ClearField(kind)


def _structure(rng: random.Random, model: onnx.ModelProto) -> None:
    nodes = model.graph.node
    choice = rng.randrange(8)
    if choice == 0 and len(nodes):
        nodes.append(_pick(rng, nodes))
    elif choice == 1 and len(nodes):
        del nodes[rng.randrange(len(nodes))]
    elif choice == 2:
        shuffled = list(nodes)
        rng.shuffle(shuffled)
        del nodes[:]
        nodes.extend(shuffled)
    elif choice == 3 and len(nodes) > 1:
        # A cycle.
        first, last = nodes[0], nodes[len(nodes) - 1]
        if len(first.input) and len(last.output):
            first.input[0] = last.output[0]
    elif choice == 4:
        model.opset_import[0].version = rng.choice([*range(28), *STRANGE_SIZES])
    elif choice == 5:
        for field in ("input", "output", "initializer"):
            if rng.random() < 0.5:
                model.graph.ClearField(field)
    elif choice == 6 and len(model.functions):
        call = model.functions[0].node.add()
        call.op_type, call.domain = "twice", "own"
        call.input.append("a")
        call.output.append("c")
    elif choice == 7 and len(nodes):
        # Copied first: a message must not be copied into itself.
        copy = onnx.GraphProto()
        copy.CopyFrom(model.graph)
        inner = _pick(rng, nodes).attribute.add()
        inner.name, inner.type = "then_branch", onnx.AttributeProto.GRAPH
        inner.g.CopyFrom(copy)


DAMAGES: tuple[Damage, ...] = (
    _rewire,
    _other_operator,
    _other_attribute,
    _other_sizes,
    _other_values,
    _damage_tensor,
    _structure,
)


def any_operator(rng: random.Random) -> onnx.ModelProto:
    """Make a model of one operator with as many inputs as it takes, and constants of any kind."""
    schemas = [schema for schema in onnx.defs.get_all_schemas() if schema.domain == ""]
    schema = rng.choice(schemas)
    constants = []
    inputs = ["x"]
    most = max(schema.min_input, min(schema.max_input, 6))
    for k in range(rng.randint(schema.min_input, most) - 1):
        name = rng.choice(["x", f"c{k}", f"c{k}", ""])
        inputs.append(name)
        if name.startswith("c"):
            values = [rng.choice((*STRANGE_SIZES, 0, 1, 2, 3)) for _ in range(rng.randrange(5))]
            shape = [rng.choice((0, 1, 2, 3, 16)) for _ in range(rng.randrange(5))]
            whole = rng.random() < 0.5
            constants.append(
                _tensor(name, [len(values)], values) if whole else _tensor(name, shape)
            )
    outputs = ["y", *(f"y{k}" for k in range(1, rng.randint(1, min(schema.max_output + 1, 5))))]
    node = helper.make_node(schema.name, inputs, outputs)
    for attribute in schema.attributes.values():
        if attribute.required or rng.random() < 0.3:
            sizes = [rng.choice((*STRANGE_SIZES, 1, 2, 3)) for _ in range(rng.randrange(1, 6))]
            value = {
                onnx.defs.OpSchema.AttrType.INT: sizes[0],
                onnx.defs.OpSchema.AttrType.INTS: sizes,
                onnx.defs.OpSchema.AttrType.FLOAT: 0.5,
                onnx.defs.OpSchema.AttrType.STRING: rng.choice(["SAME_UPPER", "linear", "ij,jk"]),
            }.get(attribute.type)
            if value is not None:
                node.attribute.append(helper.make_attribute(attribute.name, value))
    opset = rng.choice((7, 11, 13, 17, 21, onnx.defs.onnx_opset_version()))
    return _model([node], constants, rank=rng.choice((2, 3, 4)), opset=opset)


def damaged(rng: random.Random, models: list[onnx.ModelProto]) -> bytes:
    """Make a damaged file."""
    if rng.random() < 0.2:
        return any_operator(rng).SerializeToString()
    model = onnx.ModelProto()
    model.CopyFrom(rng.choice(models))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 6))):
        try:
            rng.choice(DAMAGES)(rng, model)
        except (ValueError, TypeError, OverflowError):
            # The damage itself does not fit the message; the next one may.
            continue
    data = bytearray(model.SerializeToString())
    if rng.random() < 0.4:
        for _ in range(rng.choice((1, 1, 2, 8, 50))):
            if data:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    if rng.random() < 0.1:
        del data[rng.randrange(len(data) + 1) :]
    return bytes(data)


# ------------------------------------------------------------------------------------ reading


def outcome(data: bytes, path: Path) -> tuple[str, str]:
    """`"graph"`, `"InputError"` or the name of another error, and its text."""
    path.write_bytes(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = onnx_graph(path)
        return ("graph", "") if isinstance(graph, Graph) else (type(graph).__name__, "")
    except InputError as error:
        text = str(error)
        return ("InputError", "") if text and "\n" not in text else ("untidy InputError", text)
    except BaseException as error:
        return type(error).__name__, traceback.format_exc()


def read_batch(seed: int, path: Path, channel: Any, progress: Any, trace: str) -> None:
    """Read one batch in a process of its own; the input that is being read is in `path`."""
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open(trace, "w", encoding="utf-8") as log:
        faulthandler.enable(log)
        rng = random.Random(seed)
        models = seeds()
        counts: Counter[str] = Counter()
        findings = []
        slowest = 0.0
        for _ in range(BATCH):
            data = damaged(rng, models)
            start = time.perf_counter()
            kind, text = outcome(data, path)
            slowest = max(slowest, time.perf_counter() - start)
            counts[kind] += 1
            with progress.get_lock():
                progress.value += 1
            if kind not in ("graph", "InputError"):
                findings.append((kind, text, data))
        channel.send((counts, findings, slowest))


def watch(seed: int, path: Path, trace: Path, slow: float) -> tuple[Any, int, int | None]:
    """Run one batch; what it sends, how many inputs it has read, and its exit code."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    progress = context.Value("i", 0)
    child = context.Process(target=read_batch, args=(seed, path, sender, progress, str(trace)))
    child.start()
    sender.close()
    received = None
    seen, since = -1, time.monotonic()
    while received is None:
        if receiver.poll(0.2):
            try:
                received = receiver.recv()
            except EOFError:
                break
        if progress.value != seen:
            seen, since = progress.value, time.monotonic()
        elif time.monotonic() - since > slow:
            child.kill()
            break
    child.join()
    return received, progress.value, child.exitcode


def main() -> None:
    parser = Options(__doc__, threads=None)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--slow", type=float, default=20.0, help="seconds one input may take")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "fuzz_onnx")
    arguments = parser.parse_args()
    arguments.keep.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    findings: list[dict[str, str]] = []
    slowest = 0.0
    start = time.monotonic()
    batch = 0
    path, trace = arguments.keep / "reading.onnx", arguments.keep / "trace.txt"

    def keep(kind: str, text: str, data: bytes) -> None:
        name = f"{kind.replace(' ', '-')}-{arguments.seed}-{len(findings)}.onnx"
        (arguments.keep / name).write_bytes(data)
        findings.append({"kind": kind, "file": name, "text": text[-2_000:]})
        print(f"{kind}: {name}\n{text}", file=sys.stderr)

    while time.monotonic() - start < 60 * arguments.minutes:
        seed = arguments.seed * 1_000_000 + batch
        received, seen, exit_code = watch(seed, path, trace, arguments.slow)
        batch += 1
        if received is None:
            kind = "slow" if exit_code == -signal.SIGKILL else "abort"
            counts[kind] += 1
            counts["read before an abort"] += seen
            keep(kind, f"exit {exit_code}\n{trace.read_text()}", path.read_bytes())
        else:
            counts.update(received[0])
            slowest = max(slowest, received[2])
            for kind, text, data in received[1]:
                keep(kind, text, data)
    result = {
        "onnx": onnx.__version__,
        "seed": arguments.seed,
        "minutes": round((time.monotonic() - start) / 60, 1),
        "inputs": sum(counts.values()),
        "outcomes": dict(sorted(counts.items())),
        "slowest_seconds": round(slowest, 3),
        "memory_limit_gb": MEMORY_BYTES / 2**30,
        "findings": findings,
    }
    write_result("fuzz_onnx", **result)
    print(json.dumps(result["outcomes"]))


if __name__ == "__main__":
    main()
