"""Write the trained networks that the package ships, from timm's table of results on ImageNet.

    python -m experiments.measurements.trained_networks

The table is the data set `timm-accuracy`. Networks whose graph the package lacks are left out, and
counted. Writes nasplug/datasets/trained_networks.npz, and results/trained_networks.json.
"""

from __future__ import annotations

import numpy as np

from experiments import ROOT
from experiments.campaign import Options
from experiments.common import write_result
from nasplug import datasets
from nasplug.datasets.network_graphs import shipped_network_graphs
from nasplug.datasets.trained_networks import write_trained_networks

FILE = ROOT / "nasplug" / "datasets" / "trained_networks.npz"


def main() -> None:
    Options(__doc__).parse_args()
    table = datasets.load("timm-accuracy")
    graphs = shipped_network_graphs()
    tags = table["tag"].fillna("")
    table["name"] = table["model"] + np.where(tags == "", "", "." + tags)
    sides = table["image_size"].astype(str)
    has_graph = [f"timm:{b}@{s}" in graphs for b, s in zip(table["model"], sides, strict=True)]
    kept = table[has_graph].sort_values(
        ["imagenet_val", "name", "image_size"], ascending=[False, True, True]
    )
    write_trained_networks(
        FILE,
        kept["name"].tolist(),
        kept["image_size"].to_numpy(np.int64),
        kept["imagenet_val"].to_numpy(np.float64),
        kept["imagenet_val_top5"].to_numpy(np.float64),
    )
    write_result(
        "trained_networks",
        "timm-accuracy",
        rows=len(table),
        kept=len(kept),
        networks=kept["name"].nunique(),
        bytes=FILE.stat().st_size,
    )


if __name__ == "__main__":
    main()
