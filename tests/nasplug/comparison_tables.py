"""Tables of networks side by side, as `nasplug.compare` returns them, made without predictors."""

from __future__ import annotations

from itertools import product

import pandas as pd

from nasplug.predicting.comparison import COLUMNS
from nasplug.predicting.energy import JOULES


def side_by_side(*networks: str) -> pd.DataFrame:
    """Latencies of networks on two devices; the first network was measured on the second one."""
    rows = [
        {
            **dict.fromkeys(COLUMNS, ""),
            "network": network,
            "hardware": device,
            "batch_size": 1,
            "runtime": "tensorrt",
            "precision": "fp32",
            "threads": 0,
            "latency_ms": ms,
            "lower_ms": ms / 1.5,
            "upper_ms": ms * 1.5,
            "images_per_second": 1e3 / ms,
            "measured_ms": 1.25 if (k, device) == (0, "T4") else float("nan"),
            "source": "a table" if (k, device) == (0, "T4") else "",
            "evidence": "zero-shot",
            "mflops": 1800.0,
            "params": 11_000_000,
            # The first device draws 30 W; the energy on the second one is not known.
            **{
                joules: 0.03 * ms * size if device == "RTX 3090" else float("nan")
                for joules, size in zip(JOULES, (1.0, 0.5, 2.0), strict=True)
            },
            "memory_mb": 60.0,
            "size_mb": 44.0,
        }
        for (k, network), (device, factor) in product(
            enumerate(networks), (("RTX 3090", 1.0), ("T4", 10.0))
        )
        for ms in [factor * (1 + k)]
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))
