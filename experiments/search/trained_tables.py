"""The table of fronts of trained networks, for docs/trained-networks.md."""

from __future__ import annotations

from experiments.tables import load, section, table

_GUIDES = {
    "flops": "FLOPs × the right factor",
    "params": "parameters × the right factor",
}


@section("trained-fronts")
def trained_fronts() -> str:
    """A row a device and guide, with means over the limits."""
    body = []
    for row in load("trained_fronts")["fronts"]:
        body.append(
            [
                f"{row['device']}, {row['networks']:,} networks",
                _GUIDES.get(row["guide"], row["guide"]),
                f"{row['mape_percent']:.0f} %",
                f"{row['meet_percent']:.0f} %",
                f"{row['best_meets_percent']:.0f} %",
                f"{row['behind_points']:.2f}",
                f"{row['behind_within_0.3']} of {row['limits']}",
            ]
        )
    head = ["device", "guide", "latency, MAPE", "of the front meet the limit"]
    head += ["its best one meets it", "points behind the best", "at most 0.3 behind"]
    return table(head, body)
