"""Read networks as PyTorch modules and as ONNX files by both exporters of torch: one answer?

    python -m experiments.reading.one_answer [--only PART]

Some sixty networks of timm, of transformers (from configurations) and of other tasks. Compares
multiply-accumulates, parameters and the predicted latency on one GPU at one runtime; an exporter
that refuses a network is counted, with its reason. Writes results/one_answer.json, and continues
where it was stopped.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from typing import Any

import onnx
import torch

from experiments.campaign import Campaign, Options
from experiments.reading.networks import Network, others
from experiments.reading.torch_networks import TRANSFORMERS, timm_names
from nasplug import InputError, predict
from nasplug.search_spaces import Graph
from nasplug.search_spaces.importers import onnx_graph, torch_graph
from nasplug.search_spaces.importers.onnx_loading import first_line

DEVICE, RUNTIME = "RTX 3090", "float32"
TIMM = 25


def published() -> Iterator[Network]:
    """Networks of timm and transformers, with weights, as exporters need them."""
    import timm
    import transformers

    for name, (config, options, example) in TRANSFORMERS.items():
        yield Network(
            f"transformers: {name}",
            lambda name=name, config=config, options=options: getattr(transformers, name)(
                getattr(transformers, config)(**options, use_cache=False)
            ),
            lambda example=example: dict(example),
        )
    for name in timm_names(TIMM):
        size = timm.get_pretrained_cfg(name)
        shape = size.input_size if size is not None else (3, 224, 224)
        yield Network(
            f"timm: {name}",
            lambda name=name: timm.create_model(name),
            lambda shape=shape: (torch.zeros(1, *shape),),
        )


class Positional(torch.nn.Module):
    """A module of keyword arguments for exporters, which read positions and tuples of tensors."""

    def __init__(self, module: torch.nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.module, self.names = module, names

    def forward(self, *arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Give the tensors that the module returns."""
        result = self.module(**dict(zip(self.names, arguments, strict=True)))
        return tuple(value for value in result.to_tuple() if isinstance(value, torch.Tensor))


def exported(module: torch.nn.Module, example: Any, dynamo: bool) -> onnx.ModelProto:
    """The module as torch's exporter writes it; a dictionary holds keyword arguments."""
    arguments = tuple(example.values()) if isinstance(example, dict) else example
    if isinstance(example, dict):
        module = Positional(module, tuple(example))
    quiet = redirect_stdout(io.StringIO())
    with warnings.catch_warnings(), torch.no_grad(), quiet:
        warnings.simplefilter("ignore")
        if dynamo:
            program = torch.onnx.export(module, arguments, dynamo=True, verbose=False)
            assert program is not None
            return program.model_proto
        buffer = io.BytesIO()
        torch.onnx.export(module, arguments, buffer, dynamo=False, verbose=False)
        return onnx.load_from_string(buffer.getvalue())


def figures(graph: Graph) -> dict[str, float]:
    """Costs of a graph, and its latency on one device at one runtime."""
    latency = predict(graph, hardware=DEVICE, runtime=RUNTIME)
    costs = {name: graph.total(name) for name in ("flops", "params", "bytes")}
    # Exporters fold norms and write zero biases, so that the weights that are read tell more.
    return {**costs, "weights": graph.executed.total("params"), "latency_ms": latency.mean}


def answers(network: Network) -> dict[str, Any]:
    """Costs by each way of reading, or the reason why there are none."""
    module, example = network.build().eval(), network.example()
    # Exporters join equal tensors, and those of a fresh network are zeros and ones.
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    one = example if isinstance(example, dict) or len(example) > 1 else example[0]
    ways: dict[str, Callable[[], Graph]] = {
        # Files hold what is computed of weights alone as constants.
        "torch": lambda: torch_graph(module, one, folds=True),
        "dynamo": lambda: onnx_graph(exported(module, example, dynamo=True)),
        "torchscript": lambda: onnx_graph(exported(module, example, dynamo=False)),
    }
    found: dict[str, Any] = {}
    for way, read in ways.items():
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                found[way] = figures(read())
            notes = [str(w.message) for w in caught if "unknown cost" in str(w.message)]
            if notes:
                found[f"{way}_notes"] = notes
        except InputError as error:
            found[f"{way}_refused"] = str(error)
        except Exception as error:  # An exporter's own failure is a result.
            found[f"{way}_failed"] = f"{type(error).__name__}: {first_line(error)}"[:200]
    return found


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts of networks by exporter, and the largest differences from the PyTorch reader."""
    result: dict[str, Any] = {}
    for way in ("dynamo", "torchscript"):
        both = [row for row in rows if way in row and "torch" in row]
        apart = {
            row["network"]: {
                name: row[way][name] / row["torch"][name] - 1
                for name in ("flops", "weights", "latency_ms")
                if row["torch"][name]
            }
            for row in both
        }
        result[way] = {
            "exported": sum(f"{way}_failed" not in row for row in rows),
            "read": sum(way in row for row in rows),
            "equal_flops": sum(abs(d.get("flops", 0)) <= 1e-3 for d in apart.values()),
            "equal_weights": sum(abs(d.get("weights", 0)) <= 1e-3 for d in apart.values()),
            "latency_within_3_percent": sum(abs(d["latency_ms"]) <= 0.03 for d in apart.values()),
            "others": {
                name: {k: round(v, 4) for k, v in d.items()}
                for name, d in apart.items()
                if abs(d.get("flops", 0)) > 1e-3 or abs(d["latency_ms"]) > 0.03
            },
        }
    return {"networks": len(rows), "torch_read": sum("torch" in row for row in rows), **result}


def main() -> None:
    parser = Options(__doc__, threads=1)
    parser.add_argument("--only", default="", help="part of the names of the networks to read")
    options = parser.parse_args()
    campaign = Campaign("one_answer", ["network"], device=DEVICE, runtime=RUNTIME)
    networks = {
        network.name: network
        for network in (*others(), *published())
        if options.only in network.name
    }
    campaign.complete(((name,) for name in networks), lambda name: answers(networks[name]))
    campaign.add(summary=summary(campaign.rows))


if __name__ == "__main__":
    main()
