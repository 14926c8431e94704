"""Write the table of HW-GPT-Bench's networks that the package ships.

    python -m experiments.language.shipped_table hwgpt_30000.csv.gz

Latencies are in measurements.npz already, which has to be there. Writes
nasplug/datasets/gpt_networks.npz and results/gpt_networks.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.common import write_result
from nasplug.datasets.gpt_networks import (
    ENERGY_BATCH,
    FILE,
    GPUS,
    gpt_table,
    gpt_texts,
    write_gpt_networks,
)
from nasplug.datasets.importers.gpt_runs import BATCHES, JOULES
from nasplug.measurements.references import gpt_reference

# Names of GPUs in the columns of the file, in the order of `GPUS`.
_COLUMNS = ("p100", "v100", "rtx2080", "rtx3080", "a40", "a100", "h100")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    wide = pd.read_csv(parser.parse_args().table, dtype={"heads": str, "mlp": str})
    wide.index = [
        gpt_reference(*row).removeprefix("gpt:")
        for row in wide[["embed", "heads", "mlp", "bias"]].itertuples(index=False)
    ]
    scales = {}
    for scale in BATCHES:
        rows = wide[wide["scale"] == scale].loc[list(gpt_texts(scale))]
        columns = {
            "perplexity": rows["perplexity"].to_numpy(),
            "next_token_accuracy": 100 * rows["next_token_accuracy"].to_numpy(),
            "allocated_mb": rows["allocated_mb"].to_numpy(),
        }
        for gpu, name in zip(GPUS, _COLUMNS, strict=True):
            setting = f"{gpu}@{ENERGY_BATCH}"
            columns[f"{setting} J"] = JOULES * rows[f"{name}_energy_wh"].to_numpy()
            columns[f"{setting} W"] = rows[f"{name}_power_w"].to_numpy()
        scales[scale] = columns
    write_gpt_networks(FILE, scales)
    errors, counts = {}, {}
    for scale, columns in scales.items():
        frame = gpt_table(scale).to_frame()
        for name, values in columns.items():
            assert np.array_equal(np.isnan(values), np.isnan(frame[name]))
            worst = float(np.nanmax(np.abs(frame[name] / values - 1)))
            errors[name] = max(worst, errors.get(name, 0.0))
        counts[scale] = {"networks": len(frame), "perplexities": int(frame["perplexity"].count())}
    write_result(
        "gpt_networks", bytes=FILE.stat().st_size, scales=counts, largest_relative_error=errors
    )


if __name__ == "__main__":
    main()
