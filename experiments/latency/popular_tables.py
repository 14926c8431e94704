"""The table of usual networks on popular devices, for docs/latency.md."""

from __future__ import annotations

from statistics import median

from experiments.tables import MISSING, Row, grouped, load, section, table
from nasplug.predictors.features.runtimes import Way, way_name


def _ms(value: float) -> str:
    """Milliseconds with three digits."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _cell(cell: Row, batch_size: int) -> str:
    """Prediction with its interval, and what was measured."""
    text = f"{_ms(cell['predicted_ms'])} ({_ms(cell['low_ms'])} to {_ms(cell['high_ms'])})"
    times = [row["ms"] for row in cell["measured"]]
    if not times:
        return text
    others = f", {len(times)} tables" if len(times) > 1 else ""
    batch = f", batch {cell['batch_size']}" if cell["batch_size"] != batch_size else ""
    return f"{text}; **{_ms(median(times))}**{others}{batch}"


@section("popular-networks")
def popular_networks() -> str:
    """A row a device and way to run networks, a column a network."""
    result = load("popular_networks")
    shown = [cell for cell in result["cells"] if cell["is_shown"]]
    networks = list(dict.fromkeys(cell["network"] for cell in shown))
    body = []
    ways = grouped(shown, "device", "runtime", "precision", "unit", "threads")
    for (device, *words), cells in ways.items():
        sizes = [cell["batch_size"] for cell in cells]
        usual = max(set(sizes), key=sizes.count)
        of_network = {cell["network"]: _cell(cell, usual) for cell in cells}
        name = f"{device}: {way_name(Way(*words).text)}"
        body.append([name, str(usual), *(of_network.get(network, MISSING) for network in networks)])
    summary, every = (result["summary"][name] for name in ("shown", "all batch sizes"))
    return (
        f"Of {summary['cells']} cells with a measurement {summary['within_30_percent']:.0f} % are "
        f"within 30 % (asked for: 90 %), {summary['within_10_percent']:.0f} % within 10 %, and "
        f"{summary['beyond_2']} off by more than a factor of two (asked for: none). The median "
        f"error is {summary['median_percent']:.0f} %, the mean {summary['mean_percent']:.0f} %. "
        f"{summary['covered_percent']:.0f} % of the measurements lie in the intervals. With all "
        f"batch sizes that were measured there are {every['cells']} cells, "
        f"{every['within_30_percent']:.0f} % of them within 30 %, {every['beyond_2']} off by more "
        "than a factor of two.\n\n" + table(["device", "batch", *networks], body)
    )
