"""Memory of forward passes as it is computed from graphs, beside measured peaks on a CPU.

    PYTHONPATH=<timm> python -m experiments.measurements.peak_memory [--chosen-by]

Each of twenty networks of timm with random weights runs eagerly, without gradients, at batch 1 and
at batch 8, in a process of its own. Measured are the bytes of its parameters and buffers, and the
most bytes of tensors that live at the same time between its operators, which
`torch.cuda.max_memory_allocated` would tell without the kernels' workspaces; beside it the peak of
PyTorch's allocator with these workspaces, and the growth of the process's resident set. The rules
of `nasplug.predicting.memory` were chosen by fourteen other networks, which `--chosen-by` measures.
Writes results/peak_memory.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

import numpy as np

from experiments.common import RUNS, write_result
from nasplug.measurements.graphs import graph_of
from nasplug.predicting.memory import memory_of
from nasplug.search_spaces.files import write_text

# Name in timm, and the side of its images.
NETWORKS = {
    **{"resnet50": 224, "seresnet50": 224, "visformer_tiny": 224, "inception_v3": 299},
    **{"mobilenetv3_large_100": 224, "efficientnet_b0": 224, "mnasnet_100": 224, "dla34": 224},
    **{"regnety_008": 224, "ghostnet_100": 224, "hrnet_w18_small": 224, "res2net50d": 224},
    **{"convnext_tiny": 224, "vit_small_patch16_224": 224, "swin_tiny_patch4_window7_224": 224},
    **{"mixer_b16_224": 224, "poolformer_s12": 224, "levit_128": 224, "rexnet_100": 224},
    **{"pit_s_224": 224},
}
CHOSEN_BY = {
    **{"resnet18": 224, "mobilenetv2_100": 224, "resnext50_32x4d": 224, "regnetx_008": 224},
    **{"efficientnet_lite0": 224, "convnext_atto": 224, "deit_tiny_patch16_224": 224},
    **{"cspresnet50": 256, "edgenext_small": 256, "repvgg_b0": 224, "vgg11": 224},
    **{"densenet121": 224, "mobilevit_s": 256, "resnetv2_50": 224},
}
BATCHES = (1, 8)
MEGA = 1e6
# A process measures one network, so that nothing of another one is left in its memory.
_MEASURE = """
import json, sys, timm, torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

def tensors(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from tensors(part)

class Live(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.held, self.peak = {}, 0

    def add(self, value, skipped=()):
        for tensor in tensors(value):
            storage = tensor.untyped_storage()
            reference = StorageWeakRef(storage)
            if reference.cdata not in skipped:
                self.held.setdefault(reference.cdata, (reference, storage.nbytes()))
        self.held = {k: v for k, v in self.held.items() if not v[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.held.values()))

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.held = {k: v for k, v in self.held.items() if not v[0].expired()}
        result = function(*args, **(kwargs or {}))
        self.add(result, weights)
        return result

def status(name):
    with open("/proc/self/status") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))

name, side, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)
torch.nn.functional.conv2d(torch.zeros(1, 3, 8, 8), torch.zeros(4, 3, 3, 3))
before = status("VmRSS")
model = timm.create_model(name, pretrained=False).eval()
held = [*model.parameters(), *model.buffers()]
references = [StorageWeakRef(t.untyped_storage()) for t in held]
weights = {reference.cdata for reference in references}
stored = {r.cdata: t.untyped_storage().nbytes() for r, t in zip(references, held)}
x = torch.rand(batch, 3, side, side)
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
with torch.no_grad():
    model(x)
    resident = status("VmHWM") - before
    live = Live()
    live.add(x)
    with live:
        model(x)
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        model(x)
allocated = peak = 0
for event in profile.profiler.kineto_results.events():
    if event.name() == "[memory]":
        allocated += event.nbytes()
        peak = max(peak, allocated)
print(json.dumps({
    "weights_mb": sum(stored.values()) / 1e6,
    "activations_mb": live.peak / 1e6,
    "allocator_mb": (peak + x.nbytes) / 1e6,
    "resident_mb": resident / 1e6,
}))
"""


def measured(name: str, side: int, batch: int) -> dict[str, float]:
    """Measure a network in a process of its own, in MB; kept in runs/ and not repeated."""
    kept = RUNS / "peak_memory" / f"{name}-{batch}.json"
    if kept.exists():
        result: dict[str, float] = json.loads(kept.read_text(encoding="utf-8"))
        return result
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, name, str(side), str(batch)],
        check=True,
        capture_output=True,
        text=True,
    )
    result = json.loads(done.stdout.splitlines()[-1])
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_text(kept, json.dumps(result) + "\n")
    return result


def row(name: str, side: int, batch: int, truth: dict[str, float]) -> dict[str, Any]:
    """Measured and computed memory of a network at a batch size, in MB."""
    memory = memory_of(graph_of(f"timm:{name}@{side}"), batch)
    total = truth["weights_mb"] + truth["activations_mb"]
    return {
        "network": name,
        "side": side,
        "batch": batch,
        "measured_mb": total,
        "computed_mb": memory.total,
        "error": memory.total / total - 1,
        "computed_weights_mb": memory.weights,
        "computed_activations_mb": memory.activations,
        **truth,
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Errors of the computed memory, for both batch sizes."""
    found = {}
    for batch in BATCHES:
        own = [r for r in rows if r["batch"] == batch]
        off = np.abs([r["error"] for r in own])
        allocator = [r["computed_mb"] / (r["weights_mb"] + r["allocator_mb"]) - 1 for r in own]
        activations = [r["computed_activations_mb"] / r["activations_mb"] - 1 for r in own]
        found[f"batch {batch}"] = {
            "networks": len(own),
            "mean error": float(off.mean()),
            "largest error": float(off.max()),
            "within 10 %": int((off <= 0.1).sum()),
            "mean error of activations alone": float(np.abs(activations).mean()),
            "mean error against the allocator": float(np.abs(allocator).mean()),
            "resident set above the computed, MB, mean": float(
                np.mean([r["resident_mb"] - r["computed_mb"] for r in own])
            ),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chosen-by", action="store_true", help="measure the other networks")
    options = parser.parse_args()
    rows = []
    for name, side in (CHOSEN_BY if options.chosen_by else NETWORKS).items():
        for batch in BATCHES:
            rows.append(row(name, side, batch, measured(name, side, batch)))
            r = rows[-1]
            print(
                f"{name:30} {batch} {r['measured_mb']:8.1f} {r['computed_mb']:8.1f} "
                f"{r['error']:+.1%} activations {r['activations_mb']:.1f} "
                f"{r['computed_activations_mb']:.1f} allocator {r['allocator_mb']:.1f}",
                flush=True,
            )
    if options.chosen_by:
        print(json.dumps(summary(rows), indent=1))
    else:
        write_result("peak_memory", summary=summary(rows), rows=rows)


if __name__ == "__main__":
    main()
