"""Tables of docs/reading.md."""

from __future__ import annotations

from experiments.tables import load, section, table

GROUPS = {
    "operators": "one operator each, its functions expanded too",
    "light": "architectures without weights",
    "real": "whole networks",
    "simple": "small graphs",
    "pytorch-converted": "layers exported by PyTorch",
    "pytorch-operator": "operators exported by PyTorch",
}


@section("backend-tests")
def backend_tests() -> str:
    """How many models of onnx's own tests are read, and each kind of refusal."""
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
        table("models | read | with operators that are not modelled | refused", rows)
        + "\n\nWhat is said of those that are refused (… is a name or a shape):\n\n"
        + table("sentence | models | for example", refused)
    )


@section("fuzz-onnx")
def fuzz_onnx() -> str:
    """How many damaged and changed files were read, and how many shapes are equal to onnx's."""
    result = load("fuzz_onnx")
    outcomes, changed = result["outcomes"], result["changed"]
    valid = changed["valid after a change"]
    refused = changed["valid after a change, refused"]
    shapes = [f for f in result["findings"] if f["kind"] == "another shape"]
    return (
        f"In {result['minutes']:.0f} minutes {result['inputs']:,} files were read: "
        f"{outcomes['graph']:,} gave a graph, {outcomes['InputError']:,} a sentence, and "
        f"{len(result['findings']) - len(shapes)} anything else. The slowest took "
        f"{result['slowest_seconds']:.1f} s. Of the changed files {valid:,} are valid to onnx; "
        f"{valid - refused:,} of them were read. Of their {changed['shapes compared']:,} shapes "
        f"{len(shapes)} differ."
    )
