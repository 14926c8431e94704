"""Take parts of nasplug's own predictor away, one at a time, on NAS-Bench-201, CIFAR-10.

    python -m experiments.accuracy.own_ablation [--threads 1] [--seeds 0,1,2,3,4] [--epochs 20]
        [--fresh]

Each variant has an encoder of its own, pretrained on the same responses for a third of the epochs
of the shipped one, and learns from n random cells as in predictor_accuracy.py. An encoder is
trained once, so variants that differ by less than the rows with another seed of pretraining are not
told apart. Writes results/own_ablation.json; runs that are there already are not repeated.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from functools import cache, partial
from itertools import chain, product
from typing import Any

import numpy as np

from experiments.campaign import Campaign, Options
from experiments.common import RUNS, Array, accuracies, cells, ranks
from experiments.zoo.pretrain_encoder import distinct_cells, measured_responses
from nasplug.predictors.accuracy.cell_reader import KERNELS
from nasplug.predictors.accuracy.pretraining import Encoder, PretrainingConfig, pretrain
from nasplug.predictors.accuracy.transformer_gp import TransformerGP, TransformerGPConfig
from nasplug.predictors.features.zero_cost import RESPONSES
from nasplug.predictors.layers.relations import RELATIONS
from nasplug.predictors.training.ensemble import ensemble_scores
from nasplug.search_spaces import Graph
from nasplug.search_spaces.simplify import simplify

SIZES = (156, 781)

# Kernels that only this comparison needs.
KERNELS["without paths"] = (
    (("embedding", "matern52"),),
    (("responses", "rbf"),),
    (("embedding", "rbf"), ("responses", "rbf")),
)
KERNELS["without responses"] = (
    (("summaries", "rbf"),),
    (("embedding", "matern52"),),
    (("embedding", "rbf"), ("summaries", "rbf")),
)


def without(*names: str) -> dict[str, Any]:
    return {"relations": tuple(name for name in RELATIONS if name not in names)}


# Part -> variant -> what differs: in pretraining, in the predictor, and what of it answers.
VARIANTS: dict[str, dict[str, tuple[dict[str, Any], dict[str, Any], str]]] = {
    "all": {
        "all parts": ({}, {}, "process"),
        "all parts, pretraining seed 1": ({"seed": 1}, {}, "process"),
        "all parts, pretraining seed 2": ({"seed": 2}, {}, "process"),
    },
    "relations": {
        **{f"without {name}": (without(name), {}, "process") for name in RELATIONS},
        "without both sibling relations": (without(*RELATIONS[2:]), {}, "process"),
    },
    "feed-forward": {
        "successors only": ({"direction": "successors"}, {}, "process"),
        "predecessors only": ({"direction": "predecessors"}, {}, "process"),
        "no neighbours": ({"direction": "neither"}, {}, "process"),
    },
    "dynamic graph": {"static relations": ({"dynamic": "static"}, {}, "process")},
    "canonical graph": {
        "graphs as drawn": ({"simplified": False}, {"simplified": False}, "process")
    },
    "path features": {
        "without path features": ({}, {"kernel": "without paths"}, "process"),
        "without responses": ({}, {"kernel": "without responses"}, "process"),
        "embedding alone": ({}, {"kernel": "embedding"}, "process"),
        "paths alone, no encoder": ({}, {"kernel": "paths"}, "process"),
    },
    "pretraining": {
        "structure alone, no random networks": (
            {"random_networks": 0},
            {"kernel": "without responses"},
            "process",
        ),
        "untrained encoder": ({"epochs": 0}, {}, "process"),
        "untrained encoder, embedding alone": ({"epochs": 0}, {"kernel": "embedding"}, "process"),
    },
    "head": {
        "mean of process and fine-tuned networks": ({}, {"finetune_from": 0}, "mean"),
        "fine-tuned networks alone": ({}, {"finetune_from": 0}, "networks"),
    },
}


@cache
def unlabeled(simplified: bool) -> tuple[list[Graph], list[Array]]:
    """Graphs to pretrain on and the responses of each."""
    distinct = distinct_cells()
    measured = [measured_responses(distinct, seed) for seed in range(2)]
    if simplified:
        return distinct, measured
    row_of = {graph.canonical_hash: k for k, graph in enumerate(distinct)}
    _, graphs = cells()
    rows = [row_of[simplify(graph).canonical_hash] for graph in graphs]
    return graphs, [table[rows] for table in measured]


@cache
def encoder(changes: str, epochs: int, fresh: bool) -> Encoder:
    """The encoder with these changes (as JSON), from runs/ if it was trained before, or anew."""
    options = json.loads(changes)
    name = "-".join("".join(c if c.isalnum() else " " for c in changes).split())
    path = RUNS / "own-ablation" / f"encoder-{name or 'all'}-{epochs}"
    state = path.with_name(f"{path.name}-state")
    if fresh:
        shutil.rmtree(state, ignore_errors=True)
    elif path.with_suffix(".safetensors").exists():
        return Encoder.load(path)
    base = PretrainingConfig()
    seed, epochs = options.pop("seed", 0), options.pop("epochs", epochs)
    training = replace(base.training, epochs=max(epochs, 1), seed=seed)
    if not epochs:
        # One epoch of steps that are too small to change a weight.
        training = replace(training, learning_rate=1e-12)
    if "relations" in options:
        options["relations"] = tuple(options["relations"])
    config = replace(base, **options, training=training)
    graphs, measured = unlabeled(config.simplified)
    print(f"pretraining: {changes}", file=sys.stderr, flush=True)
    made = pretrain(
        graphs,
        config,
        measured=measured[: config.random_networks],
        folder=state,
        progress=False,
    )
    made.save(path)
    return made


def measure(part: str, variant: str, n: int, seed: int, epochs: int, fresh: bool) -> dict[str, Any]:
    """Fit one variant on n cells and rank all cells."""
    changes, options, answer = VARIANTS[part][variant]
    _, graphs = cells()
    validation = accuracies()[0][:, 0]
    chosen = np.random.default_rng(seed).permutation(len(graphs))[:n]
    settings: dict[str, Any] = {"targets": ("cifar10",), "seed": seed, **options}
    predictor = TransformerGP(
        TransformerGPConfig(**settings),
        None if settings.get("kernel") == "paths" else encoder(json.dumps(changes), epochs, fresh),
    )
    predictor.fit([graphs[k] for k in chosen], validation[chosen], progress=False)
    if answer == "networks":
        score = ensemble_scores(predictor._networks, graphs).mean(0)[:, 0]
    else:
        score = predictor.scores(graphs)[0, :, 0]
    return ranks(score)


def main() -> None:
    parser = Options(__doc__, seeds="0,1,2,3,4", fresh=True)
    parser.add_argument("--epochs", type=int, default=20, help="of pretraining")
    parser.add_argument("--parts", default=",".join(VARIANTS))
    options = parser.parse_args()
    campaign = Campaign(
        "own_ablation",
        ("part", "variant", "n", "seed"),
        ["nb201-accuracy"],
        same=["pretraining_epochs"],
        fresh=options.fresh,
        space="nb201",
        cells="numpy default_rng(seed).permutation(15625)[:n]",
        pretraining_epochs=options.epochs,
        responses=len(RESPONSES),
        variants=VARIANTS,
    )
    runs = chain.from_iterable(
        product([part], VARIANTS[part], SIZES, options.seeds) for part in options.parts.split(",")
    )
    campaign.complete(runs, partial(measure, epochs=options.epochs, fresh=options.fresh))


if __name__ == "__main__":
    main()
