"""The command measured: published measurements of a network on a device."""

from __future__ import annotations

from typing import Annotated, Any

from typer import Argument, Option

from nasplug.commands.common import Debug, Json, command, print_json, print_rows
from nasplug.text import counted

__all__ = ["measured"]


@command
def measured(
    network: Annotated[
        str, Argument(help="Name of a network, such as ResNet-50, vit_b_16 or timm:resnet50.")
    ],
    hw: Annotated[
        str | None, Option("--hw", help="Device by name; all devices without it.")
    ] = None,
    runtime: Annotated[
        str | None,
        Option("--runtime", help="Runtime, such as eager, compiled, tensorrt, tflite or ncnn."),
    ] = None,
    precision: Annotated[
        str | None, Option("--precision", help="fp32, tf32, fp16, bf16, int8 or another.")
    ] = None,
    batch_size: Annotated[
        int | None, Option("--batch-size", help="Images a forward pass; all without it.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show published measurements of a network on a device, with their sources."""
    import nasplug

    rows = nasplug.measured(
        network, hardware=hw, runtime=runtime, precision=precision, batch_size=batch_size
    )
    if as_json:
        print_json(rows)
        return
    shown = [_shown(row, hw is None) for row in rows]
    filled = [name for name in shown[0] if any(row[name] for row in shown)]
    print_rows([{name: row[name] for name in filled} for row in shown], False)
    used = dict.fromkeys(f"{row['source']}: {row['licence']}" for row in rows)
    print(f"sources: {'; '.join(used)}")


def _shown(row: dict[str, Any], names_device: bool) -> dict[str, Any]:
    """Columns of the table on a terminal: what tells one measurement from another."""
    device = {"device": row["device"] or row["hardware"]} if names_device else {}
    unit = f"{row['unit']} {row['cores']}".strip()
    return {
        **device,
        "network": row["graph"] or row["network"],
        "unit": f"{unit}, {counted(row['threads'], 'thread')}" if row["threads"] else unit,
        "runtime": row["runtime"],
        "version": row["version"],
        "precision": row["precision"],
        "batch": row["batch"] or None,
        "mode": "" if row["mode"] == "inference" else row["mode"],
        "latency_ms": f"{row['latency_ms']:g}",
        "timed": ", ".join(filter(None, (row["timing"], row["statistic"]))),
        "quality": row["quality"],
        "source": row["source"],
    }
