"""Write the table of measurements that the package ships, its NOTICE, and counts of both.

    python -m experiments.measurements.shipped_table FOLDER

FOLDER holds the files that `nasplug.measurements.importers.sources.FILES` names; the package's own
data sets come from the cache or from `NASPLUG_MIRROR`. Takes two minutes and 3 GB of memory. Writes
nasplug/datasets/measurements.npz, MEASUREMENTS-NOTICE.md beside it, and results/measurements.json.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from experiments import ROOT
from experiments.common import write_result
from nasplug.datasets.measurements import (
    TEXTS,
    MeasurementTable,
    measurement_sources,
    read_measurements,
    write_measurements,
)
from nasplug.devices.catalogue import catalogue
from nasplug.measurements.importers.rows import joined
from nasplug.measurements.importers.sources import PACKAGE_TABLES, read_everything
from nasplug.search_spaces.files import write_text

TABLE = ROOT / "nasplug" / "datasets" / "measurements.npz"
NOTICE = TABLE.with_name("MEASUREMENTS-NOTICE.md")
# Texts of the licences of the sources.
LICENCES = Path(__file__).with_name("licences.md")
_CLASSES = {"phone": "phones", "edge": "boards", "fpga": "FPGAs", "asic": "accelerators"}
# Parts of systems' names that tell what a device without an entry in the catalogue is.
_UNITS = {"MCU": "microcontrollers", "FPGA": "FPGAs", "NPU": "NPUs", "ASIC": "accelerators"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    parts = read_everything(folder)
    table = joined(list(parts.values()))
    write_measurements(TABLE, table)
    write_text(NOTICE, notice(table))
    stored = read_measurements(TABLE)
    for name in TEXTS:
        assert stored.values[name] == table.values[name]
        assert np.array_equal(stored.codes[name], table.codes[name])
    errors = np.abs(stored.numbers["latency_ms"] / table.numbers["latency_ms"] - 1)
    write_result(
        "measurements",
        *PACKAGE_TABLES,
        rows=len(table),
        bytes=TABLE.stat().st_size,
        largest_relative_error=float(errors.max()),
        files={
            name: {"rows": len(part.frame), "dropped": dict(part.dropped)}
            for name, part in parts.items()
        },
        **counts(table),
    )


def notice(table: MeasurementTable) -> str:
    """The sources, their licences, and the licences' texts."""
    rows = Counter(table.codes["source"].tolist())
    lines = []
    for k, name in enumerate(table.values["source"]):
        source = measurement_sources()[name]
        holder = f", (c) {source.holder}" if source.holder else ""
        lines.append(
            f"- {name}: {source.licence}{holder}; {source.content}; {rows[k]:,} rows; {source.url}"
        )
    return "\n".join(
        [
            "# Sources of measurements.npz",
            "",
            "The table holds numbers from these repositories, rounded to 0.03 % and brought into",
            "one vocabulary. Each stays under the licence of its source. MLPerf is a trade mark of",
            "MLCommons; its results are those of the published rounds, not verified anew.",
            "trained_networks.npz holds the accuracies of trained networks that",
            "huggingface/pytorch-image-models states at the commit below.",
            "gpt_networks.npz holds perplexities, energies and memory of automl/HW-GPT-Bench",
            "at the commit below and at 795cba8, rounded to 0.05 %.",
            "",
            *lines,
            "",
            LICENCES.read_text(encoding="utf-8"),
        ]
    )


def counts(table: MeasurementTable) -> dict[str, Any]:
    """Rows, devices and networks by class of device, by source, by kind, and what has no entry."""
    frame = table.to_frame()
    described = {device.name: device for device in catalogue()}
    name = frame["device"].astype(str).where(frame["device"] != "", frame["hardware"].astype(str))
    kinds = {text: device.kind for text, device in described.items()}
    unit = frame["unit"].astype(str)
    by_unit = unit.map(_UNITS).fillna(unit.map({"GPU": "GPUs", "CPU": "CPUs"})).fillna("other")
    known = frame["device"].astype(str).map(kinds).map({**_CLASSES, "gpu": "GPUs", "cpu": "CPUs"})
    frame = frame.assign(
        name=name,
        class_=known.fillna(by_unit),
        what=frame["graph"].astype(str).where(frame["graph"] != "", frame["network"].astype(str)),
    )
    missing = frame[frame["device"] == ""].groupby("hardware", observed=True).size()
    return {
        "classes": _grouped(frame, "class_"),
        "sources": _grouped(frame, "source"),
        "kinds": _grouped(frame, "kind"),
        "modes": {str(k): int(v) for k, v in frame["mode"].value_counts().items() if v},
        "runtimes": {str(k): int(v) for k, v in frame["runtime"].value_counts().items() if v},
        "precisions": {str(k): int(v) for k, v in frame["precision"].value_counts().items() if v},
        "flags": _flags(table),
        "devices": int(frame["name"].nunique()),
        "devices_in_catalogue": int((frame["device"].astype(str).unique() != "").sum()),
        "rows_in_catalogue": int((frame["device"] != "").sum()),
        "rows_with_graph": int((frame["graph"] != "").sum()),
        "not_in_catalogue": {
            str(k): int(v) for k, v in missing.sort_values(ascending=False).items()
        },
    }


def _grouped(frame: Any, column: str) -> dict[str, dict[str, int]]:
    groups = frame.groupby(column, observed=True)
    rows = groups.size().sort_values(ascending=False)
    devices, graphs = groups["name"].nunique(), groups["what"].nunique()
    return {
        str(k): {"rows": int(rows[k]), "devices": int(devices[k]), "networks": int(graphs[k])}
        for k in rows.index
    }


def _flags(table: MeasurementTable) -> dict[str, int]:
    counted: Counter[str] = Counter()
    for k, count in Counter(table.codes["quality"].tolist()).items():
        for flag in filter(None, table.values["quality"][k].split(", ")):
            counted[flag] += count
    return dict(counted.most_common())


if __name__ == "__main__":
    main()
