"""Feed damaged and changed ONNX files to the reader: each gives a graph or an `InputError`.

Starts from small valid models. Half of the files are damaged in any byte or field, half are changed
within their structure (experiments.checks.mutations). They are read in batches, each in a process
of its own, so that a crash of the process is found too. Anything else than a graph or an
`InputError`, an abort, and an input that takes longer than `--slow` seconds is a finding, kept
under `--keep`. So is a changed file that onnx finds valid and to whose tensors onnx's shape
inference gives other shapes.
"""

from __future__ import annotations

import faulthandler
import json
import math
import multiprocessing
import random
import re
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import Message
from onnx import TensorProto, helper

from experiments.campaign import Options
from experiments.checks.mutations import inferred_shapes, mutated, valid_models
from experiments.common import write_result
from experiments.reading.backend_tests import kind_of
from nasplug.search_spaces import Graph, InputError
from nasplug.search_spaces.importers.onnx_graph import onnx_graph, tensor_shapes

try:
    import resource
except ImportError:  # Not on Windows, where memory is not limited.
    resource = None  # type: ignore[assignment]

BATCH = 250
MEMORY_BYTES = 4 * 2**30
STRANGE_SIZES = (-1, 0, 1, 2, 3, 7, 255, 2**16, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1, -(2**63))
STRANGE_TEXT = ("", "x", "Conv", "Loop", "ai.onnx.ml", "\x00", "é", "a" * 5_000)
OPERATORS = sorted({schema.name for schema in onnx.defs.get_all_schemas()})
n = helper.make_node


# -------------------------------------------------------------------------------------- seeds


def _tensor(name: str, shape: list[int], values: list[int] | None = None) -> TensorProto:
    if values is not None:
        return helper.make_tensor(name, TensorProto.INT64, shape, values)
    return helper.make_tensor(name, TensorProto.FLOAT, shape, [0.5] * math.prod(shape))


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


SEEDS = 4
# Mark of the counts of one kind of sentence.
REFUSED = "refused: "
# Kinds of sentences on changed files that results list, the most frequent ones, and findings.
KINDS = 40
FINDINGS = 20
# Letters of a finding's text in results.
LETTERS = 300


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


def messages(message: Message) -> Iterator[Message]:
    """A message, and all messages inside of it."""
    yield message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in [value] if isinstance(value, Message) else value:
                yield from messages(inner)


def _value(rng: random.Random, field: Any, model: onnx.ModelProto) -> Any:
    """A new value of a field; a message is a copy of another one of the model."""
    if field.type == field.TYPE_MESSAGE:
        alike = [
            m for m in messages(model) if m.DESCRIPTOR.full_name == field.message_type.full_name
        ]
        return deepcopy(rng.choice(alike)) if alike else field.message_type._concrete_class()
    if field.type == field.TYPE_STRING:
        # A name of the model wires a node anew.
        names = ["x", *(name for node in model.graph.node for name in (*node.input, *node.output))]
        return rng.choice(rng.choice((names, OPERATORS, STRANGE_TEXT)))
    if field.type == field.TYPE_BYTES:
        return rng.randbytes(rng.randrange(20))
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return rng.choice((0.5, -1.0, float("inf"), float("nan")))
    return rng.choice((*STRANGE_SIZES, *range(16)))


def damage(rng: random.Random, model: onnx.ModelProto) -> None:
    """Change one field of any message: its value, or which values it has, and in which order."""
    message = rng.choice(list(messages(model)))
    used = [field for field, _ in message.ListFields()]
    field = rng.choice(used if used and rng.random() < 0.7 else list(message.DESCRIPTOR.fields))
    new, old = _value(rng, field, model), getattr(message, field.name)
    values = deepcopy(list(old)) if hasattr(old, "extend") else None
    message.ClearField(field.name)
    if values is not None:
        place = rng.randrange(len(values) + 1)
        values[place : place + rng.randrange(3)] = [new] * rng.randrange(3)
        if rng.random() < 0.1:
            rng.shuffle(values)
        getattr(message, field.name).extend(values if rng.random() < 0.95 else [])
    elif isinstance(new, Message):
        getattr(message, field.name).CopyFrom(new)
    elif rng.random() < 0.8:
        setattr(message, field.name, new)


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
            damage(rng, model)
        except ValueError:
            # The number does not fit the field; the next one may.
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


def comparison(data: bytes, counts: Counter[str]) -> str:
    """Text on tensors of a file to which onnx gives other shapes than the reader; empty if none."""
    model = onnx.load_from_string(data)
    theirs = inferred_shapes(model)
    if theirs is None:
        return ""
    counts["valid after a change"] += 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ours = tensor_shapes(model)
        except InputError as error:
            counts["valid after a change, refused"] += 1
            counts[f"{REFUSED}{kind_of(str(error))}"] += 1
            return ""
    common = [name for name, shape in ours.items() if shape is not None and name in theirs]
    counts["shapes compared"] += len(common)
    return "; ".join(
        f"{name}: {ours[name]}, onnx {theirs[name]}"
        for name in common
        if ours[name] != theirs[name]
    )


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
        # x1f marks names that the reader made up; damage may write it into an equation.
        is_tidy = bool(text) and "\n" not in text and ("x1f" not in text or "equation" in text)
        return ("InputError", "") if is_tidy else ("untidy InputError", text)
    except BaseException as error:
        return type(error).__name__, traceback.format_exc()


def read_batch(
    models: list[onnx.ModelProto], seed: int, path: Path, channel: Any, progress: Any, trace: str
) -> None:
    """Read one batch in a process of its own; the input that is being read is in `path`."""
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open(trace, "w", encoding="utf-8") as log:
        faulthandler.enable(log)
        rng = random.Random(seed)
        counts: Counter[str] = Counter()
        compared: Counter[str] = Counter()
        findings = []
        slowest = 0.0
        for _ in range(BATCH):
            is_changed = rng.random() < 0.5
            if is_changed:
                data = mutated(rng, models).SerializeToString()
            else:
                data = damaged(rng, models[:SEEDS])
            start = time.perf_counter()
            kind, text = outcome(data, path)
            slowest = max(slowest, time.perf_counter() - start)
            counts[kind] += 1
            with progress.get_lock():
                progress.value += 1
            if kind not in ("graph", "InputError"):
                findings.append((kind, text, data))
            elif is_changed and (difference := comparison(data, compared)):
                findings.append(("another shape", difference, data))
        channel.send((counts, compared, findings, slowest))


def watch(
    models: list[onnx.ModelProto], seed: int, path: Path, trace: Path, slow: float
) -> tuple[Any, int, int | None]:
    """Run one batch; what it sends, how many inputs it has read, and its exit code."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    progress = context.Value("i", 0)
    arguments = (models, seed, path, sender, progress, str(trace))
    child = context.Process(target=read_batch, args=arguments)
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


def shortened(text: str) -> str:
    """The text of a finding for results, without names of folders; the whole one is printed."""
    return re.sub(r"\S*/", "", text)[:LETTERS]


def main() -> None:
    parser = Options(__doc__, threads=None)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--slow", type=float, default=20.0, help="seconds one input may take")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "fuzz_onnx")
    arguments = parser.parse_args()
    arguments.keep.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    compared: Counter[str] = Counter()
    findings: list[dict[str, str]] = []
    slowest = 0.0
    models = valid_models(seeds())
    start = time.monotonic()
    batch = 0
    path, trace = arguments.keep / "reading.onnx", arguments.keep / "trace.txt"

    def keep(kind: str, text: str, data: bytes) -> None:
        name = f"{kind.replace(' ', '-')}-{arguments.seed}-{len(findings)}.onnx"
        (arguments.keep / name).write_bytes(data)
        findings.append({"kind": kind, "file": name, "text": shortened(text)})
        print(f"{kind}: {name}\n{text}", file=sys.stderr)

    while time.monotonic() - start < 60 * arguments.minutes:
        seed = arguments.seed * 1_000_000 + batch
        received, seen, exit_code = watch(models, seed, path, trace, arguments.slow)
        batch += 1
        if received is None:
            kind = "slow" if exit_code == -signal.SIGKILL else "abort"
            counts["read before an abort"] += seen
            if "in inferred_shapes" in trace.read_text():
                compared["aborts of onnx's own inference"] += 1
                continue
            counts[kind] += 1
            keep(kind, f"exit {exit_code}\n{trace.read_text()}", path.read_bytes())
        else:
            counts.update(received[0])
            compared.update(received[1])
            slowest = max(slowest, received[3])
            for kind, text, data in received[2]:
                keep(kind, text, data)
    kinds = [
        (name.removeprefix(REFUSED), count)
        for name, count in compared.most_common()
        if name.startswith(REFUSED)
    ]
    result = {
        "onnx": onnx.__version__,
        "seed": arguments.seed,
        "minutes": round((time.monotonic() - start) / 60, 1),
        "inputs": sum(counts.values()),
        "models": len(models),
        "outcomes": dict(sorted(counts.items())),
        "changed": {name: n for name, n in compared.items() if not name.startswith(REFUSED)},
        "refused": dict(kinds[:KINDS]),
        "other_refused": sum(count for _, count in kinds[KINDS:]),
        "slowest_seconds": round(slowest, 3),
        "memory_limit_gb": MEMORY_BYTES / 2**30,
        "findings": findings[:FINDINGS],
        "other_findings": len(findings[FINDINGS:]),
    }
    write_result("fuzz_onnx", **result)
    print(json.dumps(result["outcomes"]))


if __name__ == "__main__":
    main()
