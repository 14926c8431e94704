"""Build the graphs of timm's networks, which its tables of latencies only name.

    nice -n 19 python -m experiments.timm.timm_graphs [--sizes one] [--seconds 120] [--only RE]
        [--again]

Needs timm, and torchvision of torch's own build, which timm imports. Each network of the two tables
below is made with random weights at the image size of its row and read by
`search_spaces.importers.torch_graph`. One file a network goes into the folder timm-graphs of the
cache (`NASPLUG_CACHE`), so that the work can be stopped and taken up again; a network that fails
leaves its reason there instead, and is not tried again unless --again is given. The order is such
that whatever is done first is a balanced sample over families. At the end, or with --pack alone,
all that is there goes into the one file that `nasplug.datasets.timm_graphs()` reads, and how far
graphs and tables agree into results/timm_graphs.json.
"""

from __future__ import annotations

import gc
import logging
import re
import resource
import signal
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from experiments.campaign import Options
from experiments.common import Array, write_result
from nasplug import datasets
from nasplug.datasets.download import cache_dir
from nasplug.datasets.importers.timm_networks import (
    TimmNetworks,
    networks_path,
    read_networks,
    write_networks,
)
from nasplug.search_spaces import Graph, InputError
from nasplug.search_spaces.files import write_text
from nasplug.search_spaces.importers.torch_graph import torch_graph

# Device and mode of the tables whose networks are wanted; the first one decides the image size.
TABLES = (("RTX 3090", "amp nhwc pt240 cu124"), ("Core i9-10940X", "fp32 nchw pt240 dynamo"))
# Networks beyond are giants that no search here would propose.
LARGEST_GMACS = 50
# Relative difference up to which a graph agrees with the table: timm counts norms, and rounds.
AGREES = 0.03
# What the tables round to: 10⁹ multiply-accumulates and millions of parameters, of two digits.
ROUNDING = 0.005

Key = tuple[str, int]


def wanted(sizes: str) -> list[Key]:
    """Model and image size of the networks to build, as the tables list them.

    Args:
        sizes: `"one"`, the first of a model, or `"all"`.
    """
    table = datasets.load("timm-latency")
    keys: dict[Key, None] = {}
    models: set[str] = set()
    for device, mode in TABLES:
        rows = table[(table["device"] == device) & (table["mode"] == mode)]
        # A model whose costs the table lacks is no giant either.
        rows = rows[~(rows["gmacs"] >= LARGEST_GMACS)]
        for model, size in zip(rows["model"], rows["image_size"], strict=True):
            if sizes == "all" or model not in models:
                keys[str(model), int(size)] = None
                models.add(str(model))
    return list(keys)


def balanced(keys: Sequence[Key], families: dict[str, str]) -> list[Key]:
    """The networks in an order of which any start holds about the same share of each family."""
    rng = np.random.default_rng(0)
    members: dict[str, list[Key]] = defaultdict(list)
    for key in keys:
        members[families[key[0]]].append(key)
    places = []
    for family in sorted(members, key=lambda name: (-len(members[name]), name)):
        models = members[family]
        for k, which in enumerate(rng.permutation(len(models))):
            places.append(((k + 0.5) / len(models), len(places), models[which]))
    return [key for *_, key in sorted(places)]


class _TooLongError(BaseException):
    """Not an Exception: nothing on the way up may take it for a fault of the network."""


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise _TooLongError

    # Processor time: on a busy machine the clock says little of the network.
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def build(model: str, size: int, device: str) -> tuple[Graph, int]:
    """The graph of one network, and its number of trainable parameters."""
    from timm import create_model
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(model)
    # Others take images of any size, and no such argument.
    fixed = config is not None and config.fixed_input_size and config.input_size[-1] != size
    with torch.device(device):
        module = create_model(model, **({"img_size": size} if fixed else {})).eval()
        example = torch.zeros(1, 3, size, size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = torch_graph(module, example)
    return graph, sum(weight.numel() for weight in module.parameters())


def build_anyhow(model: str, size: int) -> tuple[Graph, int]:
    """Build a network, without memory for weights if it does not need their values."""
    try:
        return build(model, size, "meta")
    except Exception:
        return build(model, size, "cpu")


def folder() -> Path:
    return cache_dir() / "timm-graphs"


def paths(key: Key) -> tuple[Path, Path]:
    """Files of a network's graph, and of the reason why it has none."""
    name = f"{key[0]}@{key[1]}"
    return folder() / f"{name}.npz", folder() / f"{name}.txt"


def build_all(keys: Sequence[Key], families: dict[str, str], seconds: float) -> None:
    made_with = f"timm {version('timm')}, torch {version('torch')}"
    for k, key in enumerate(keys):
        good, bad = paths(key)
        started = time.perf_counter()
        try:
            with _at_most(seconds):
                graph, parameters = build_anyhow(*key)
        except _TooLongError:
            outcome = f"takes more than {seconds:g} s of processor time"
            write_text(bad, outcome)
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
            write_text(bad, outcome)
        else:
            network = TimmNetworks(
                (key[0],), (key[1],), (families[key[0]],), (parameters,), (graph,), made_with
            )
            write_networks(good, network)
            bad.unlink(missing_ok=True)
            outcome = f"{len(graph)} nodes"
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"{time.strftime('%H:%M:%S')} {k + 1}/{len(keys)} {key[0]}@{key[1]} "
            f"{time.perf_counter() - started:.1f} s, {memory:.1f} GB: {outcome[:300]}",
            flush=True,
        )


def stated() -> dict[Key, tuple[float, float]]:
    """10⁹ multiply-accumulates, or NaN, and 10⁶ parameters of each network in the tables."""
    table = datasets.load("timm-latency")
    table = table[[pair in TABLES for pair in zip(table["device"], table["mode"], strict=True)]]
    keys = zip(table["model"], table["image_size"], strict=True)
    costs = zip(table["gmacs"], table["params_millions"], strict=True)
    return dict(zip(keys, costs, strict=True))


def pack_all(known: Mapping[Key, tuple[float, float]]) -> tuple[TimmNetworks, list[str]]:
    """Put all graphs that were built into one file, sorted by model and size.

    Args:
        known: As `stated`. A network with other parameters than the table states is not the one
            that was measured, but what this version of timm makes by its name: it is left out.

    Returns:
        The networks, and the models that were left out.
    """
    parts, others = [], []
    for path in sorted(folder().glob("*.npz")):
        part = read_networks(path)
        key = (part.models[0], part.image_sizes[0])
        millions = known.get(key, (0.0, 0.0))[1]
        if millions and abs(_beyond_rounding(part.parameters[0] / 1e6, millions)) > AGREES:
            others.append(part.models[0])
        else:
            parts.append(part)
    if not parts:
        raise InputError(f"{folder()} holds no graph; build some first")
    parts.sort(key=lambda part: (part.models, part.image_sizes))
    whole = TimmNetworks(
        **{
            name: tuple(getattr(part, name)[0] for part in parts)
            for name in ("models", "image_sizes", "families", "parameters", "graphs")
        },
        made_with="; ".join(sorted({part.made_with for part in parts})),
    )
    write_networks(networks_path(), whole)
    return whole, sorted(set(others))


def agreement(networks: TimmNetworks, known: Mapping[Key, tuple[float, float]]) -> dict[str, Any]:
    """Compare the costs of the graphs with those that the tables state."""
    keys = zip(networks.models, networks.image_sizes, strict=True)
    table = pd.DataFrame(
        {
            "model": networks.models,
            "image_size": networks.image_sizes,
            "family": networks.families,
            "gmacs": [graph.total("flops") / 1e9 for graph in networks.graphs],
            "folded": [graph.total("params") / 1e6 for graph in networks.graphs],
            "made": np.array(networks.parameters) / 1e6,
        }
    )
    table[["stated", "millions"]] = [known.get(key, (np.nan, np.nan)) for key in keys]
    table = table[table["stated"].notna()]
    off = _beyond_rounding(table["gmacs"], table["stated"])
    apart = table[off.abs() > AGREES].round({"gmacs": 4})
    return {
        "networks": len(networks.models),
        "compared": len(table),
        "agrees_up_to": AGREES,
        "macs": _summary(off),
        "module_parameters": _summary(_beyond_rounding(table["made"], table["millions"])),
        "graph_parameters": _summary(_beyond_rounding(table["folded"], table["millions"])),
        "families": {
            family: {
                "networks": len(own),
                "disagree": int((own.abs() > AGREES).sum()),
                "median_percent": float(100 * own.median()),
            }
            for family, own in off.groupby(table["family"])
        },
        "disagree": apart[["model", "image_size", "gmacs", "stated"]].to_dict("records"),
    }


def _beyond_rounding(cost: Any, stated: Any) -> Any:
    """Relative difference, less what rounding may make."""
    apart = cost - stated
    return np.sign(apart) * np.maximum(np.abs(apart) - ROUNDING, 0) / stated


def _summary(off: Array) -> dict[str, float]:
    return {
        "agree_percent": float(100 * (np.abs(off) <= AGREES).mean()),
        "median_percent": float(100 * np.median(off)),
        "p95_absolute_percent": float(100 * np.quantile(np.abs(off), 0.95)),
    }


def to_build(keys: Sequence[Key], again: bool) -> tuple[list[Key], dict[str, str]]:
    """The networks that are neither built nor have failed, in their order, and their families."""
    from timm.models import is_model, model_entrypoint

    families = {
        model: model_entrypoint(model).__module__.rpartition(".")[2]
        for model, _ in keys
        if is_model(model)
    }
    left = []
    for key in balanced([key for key in keys if key[0] in families], families):
        good, bad = paths(key)
        if not good.exists() and (again or not bad.exists()):
            left.append(key)
    for key in keys:
        if key[0] not in families:
            write_text(paths(key)[1], "this timm has no such model")
    return left, families


def main() -> None:
    parser = Options(__doc__)
    parser.add_argument("--sizes", choices=("one", "all"), default="one")
    parser.add_argument(
        "--seconds", type=float, default=120, help="of the processor, for one network"
    )
    parser.add_argument("--most", type=int, help="stop after so many networks")
    parser.add_argument("--only", default="", help="regular expression on the model's name")
    parser.add_argument("--again", action="store_true", help="try those that failed once more")
    parser.add_argument("--pack", action="store_true", help="build nothing")
    options = parser.parse_args()
    # A trace makes many small objects, and what was imported never goes.
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    torch.fx.config.do_not_emit_stack_traces = True
    keys = [key for key in wanted(options.sizes) if re.search(options.only, key[0])]
    if not options.pack:
        logging.disable(logging.WARNING)
        left, families = to_build(keys, options.again)
        print(
            f"{folder()}: {len(keys) - len(left)} of {len(keys)} networks were built, or failed "
            f"and are not tried again (--again does); {len(left)} left",
            file=sys.stderr,
        )
        build_all(left[: options.most], families, options.seconds)
    stated_costs = stated()
    networks, others = pack_all(stated_costs)
    reasons = {f"{model}@{size}": paths((model, size))[1] for model, size in wanted("all")}
    write_result(
        "timm_graphs",
        "timm-latency",
        made_with=networks.made_with,
        tables=[list(table) for table in TABLES],
        largest_gmacs=LARGEST_GMACS,
        nodes=np.quantile(
            [len(graph) for graph in networks.graphs], [0, 0.25, 0.5, 0.75, 1]
        ).tolist(),
        agreement=agreement(networks, stated_costs),
        not_what_was_measured=others,
        failed={
            name: path.read_text(encoding="utf-8")[:300]
            for name, path in reasons.items()
            if path.exists()
        },
    )


if __name__ == "__main__":
    main()
