"""Tables of docs/reading.md."""

from __future__ import annotations

from experiments.tables import MISSING, load, section, table

GROUPS = {
    "operators": "one operator each, its functions expanded too",
    "light": "architectures without weights",
    "real": "whole networks",
    "simple": "small graphs",
    "pytorch-converted": "layers exported by PyTorch",
    "pytorch-operator": "operators exported by PyTorch",
}


UNUSED = "the module has parameters that this pass does not use"
UNCOUNTED = "torch does not count the products of experts"
REASONS: dict[tuple[str, str], str] = {
    ("parameters", "transformers: Wav2Vec2Model"): UNUSED,
    ("parameters", "transformers: HubertModel"): UNUSED,
    ("parameters", "transformers: Dinov2Model"): UNUSED,
    ("parameters", "transformers: SamModel"): UNUSED,
    ("FLOPs", "transformers: MixtralForCausalLM"): UNCOUNTED,
}


TWICE = "the module computes sums twice that exporters compute once"
# Reasons why a file of an exporter is another network than the module.
FILES: dict[tuple[str, str], str] = {
    ("others:rnn-tagger", "dynamo"): (
        "the exporter writes an RNN as the operators of each step, and computes the first product, "
        "of zeros, itself"
    ),
    ("transformers: RwkvForCausalLM", "dynamo"): TWICE,
    ("transformers: RwkvForCausalLM", "torchscript"): TWICE,
    ("transformers: BertModel", "torchscript"): "the exporter makes the mask once for each layer",
    ("timm: cpubone_b3", "dynamo"): "the exporter joins padding with the convolution after it",
    ("timm: csatv2", "dynamo"): (
        "the exporter writes pooling by windows of several sizes as slices and sums"
    ),
}


@section("backend-tests")
def backend_tests() -> str:
    """Count the models of onnx's own tests that are read, and each kind of refusal."""
    result = load("backend_tests")
    rows = [
        [
            text,
            *(
                f"{result['groups'][group].get(column, 0):,}"
                for column in ("read", "read with operators that are not modelled", "refused")
            ),
        ]
        for group, text in GROUPS.items()
        if group in result["groups"]
    ]
    refused = [
        [row["kind"].replace("|", "\\|"), f"{row['files']}", f"`{row['example']}`"]
        for row in result["refused"]
    ]
    return (
        table("models | read | of these with operators that are not modelled | refused", rows)
        + "\n\nWhat is said of those that are refused (… is a name or a shape):\n\n"
        + table("sentence | models | for example", refused)
    )


@section("shipped-files")
def shipped_files() -> str:
    """List what is read of files that packages ship."""
    rows = load("shipped_files")["rows"]
    return table(
        "package | file | for | read at | MFLOPs | million parameters | operators",
        [
            [
                row["package"].replace("==", " "),
                f"`{row['file']}`",
                row["purpose"],
                ", ".join("×".join(map(str, size)) for size in row["shapes"].values())
                or "its own sizes",
                *(
                    ["refused"] + [MISSING] * 2
                    if "refused" in row
                    else [
                        f"{row['mflops']:,.1f}",
                        f"{row['params'] / 1e6:.2f}",
                        f"{row['operators']}",
                    ]
                ),
            ]
            for row in rows
        ],
    )


@section("torch-networks")
def torch_networks() -> str:
    """Count the PyTorch modules that are read; tell how fast, and where counts differ."""
    result = load("torch_networks")
    large = result["large"]
    read = result["networks"] - len(result["refused"])
    text = (
        f"{read} of {result['networks']} networks were read, in a median of "
        f"{result['median_ms']:.0f} ms of processor time, timm's in "
        f"{result['median_ms_timm']:.0f} ms. `{large['network']}` of "
        f"{large['params'] / 1e9:.1f} billion parameters on `meta` took {large['ms']:.0f} ms and "
        f"{large['megabytes']:.0f} MB. `FlopCounterMode` counts {result['counted']} of them; their "
        "FLOPs are equal to within 1 %, and parameters are equal, but for these:\n\n"
    )
    rows = [
        [name.partition(": ")[2], what, f"{ours:,.0f}", f"{theirs:,.0f}", REASONS[what, name]]
        for name, what, ours, theirs in result["exceptions"]
    ]
    return text + table("network | count of | nasplug | torch | reason", rows)


@section("one-answer")
def one_answer() -> str:
    """Count the networks of both exporters, and compare readings of files and modules."""
    result = load("one_answer")
    total = result["summary"]["networks"]
    rows, apart = [], []
    for way in ("dynamo", "torchscript"):
        counts = result["summary"][way]
        rows.append(
            [
                f"`torch.onnx.export(dynamo={way == 'dynamo'})`",
                *(
                    f"{counts[key]}"
                    for key in (
                        *("exported", "read", "equal_flops", "equal_weights"),
                        "latency_within_3_percent",
                    )
                ),
            ]
        )
        for name, differences in counts["others"].items():
            shown = [
                f"{differences.get(key, 0):+.1%}" for key in ("flops", "weights", "latency_ms")
            ]
            apart.append([name, way, *shown, FILES[name, way]])
    columns = "exporter | exported | read | equal FLOPs | equal weights | latency within 3 %"
    return (
        f"{total} networks:\n\n"
        + table(columns, rows)
        + "\n\nThose whose files differ from the module:\n\n"
        + table("network | exporter | FLOPs | weights | latency | reason", apart)
    )


@section("fuzz-onnx")
def fuzz_onnx() -> str:
    """Count the damaged and changed files that were read, and the shapes that differ."""
    result = load("fuzz_onnx")
    outcomes, changed = result["outcomes"], result["changed"]
    valid = changed["valid after a change"]
    refused = changed["valid after a change, refused"]
    shapes = [f for f in result["findings"] if f["kind"] == "another shape"]
    found = len(result["findings"]) + result.get("other_findings", 0)
    return (
        f"In {result['minutes']:.0f} minutes {result['inputs']:,} files were read: "
        f"{outcomes['graph']:,} gave a graph, {outcomes['InputError']:,} a sentence, and "
        f"{found - len(shapes)} anything else. The slowest took "
        f"{result['slowest_seconds']:.1f} s. Of the changed files {valid:,} are valid to onnx; "
        f"{valid - refused:,} of them were read. Of their {changed['shapes compared']:,} shapes "
        f"{len(shapes)} differ."
    )
