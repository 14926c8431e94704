"""Tables of usual networks on popular devices and of how long predictions take."""

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


@section("latency-time")
def latency_time() -> str:
    """A row a device: times of one prediction and of a thousand."""
    result = load("latency_time")
    body = []
    for row in result["many"]:
        own = {r["graph"]: r for r in result["one"] if r["device"] == row["device"]}
        one = (
            f"{1e3 * own[name][clock]['median']:.0f}"
            for name in ("new", "known")
            for clock in ("processor_seconds", "seconds")
        )
        many = (f"{row[clock]['median']:.1f}" for clock in ("processor_seconds", "seconds"))
        body.append([f"{row['device']}, {row['way']}", *one, *many])
    shell = (
        f"{result['shell'][clock]['median']:.1f}" for clock in ("processor_seconds", "seconds")
    )
    processor, clock = shell
    head = "device | new network, ms of a processor | ms | known network, ms of a processor | ms | "
    head += "a thousand networks, s of processors | s"
    low, high = min(result["loads"]), max(result["loads"])
    return (
        f"{table(head, body)}\n\n{result['threads']} threads; medians of {result['repeats']} runs. "
        f"Other programs ran beside it (load {low:.0f} to {high:.0f}), so that seconds of the "
        f"clock say little. From the shell `nasplug predict model.onnx` takes {processor} s of a "
        f"processor ({clock} s of the clock), of which most is the import of PyTorch."
    )
