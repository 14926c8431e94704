"""Count falls of the predicted latency as the batch grows.

    python -m experiments.latency.batch_growth [--threads 1] [--networks 30]

Networks of NNLQP's families, drawn at random, on devices of all kinds, from batch 1 to 1,024 by
doublings, in the usual runtime and, on GPUs, in TensorRT; cells of NAS-Bench-201 by their own
predictor. A violation is a fall of more than 5 %, about the noise of the measured tables. Writes
results/batch_growth.json.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.campaign import Options
from experiments.common import write_result
from nasplug import hardware, load_predictor, space
from nasplug.predictors.features.runtimes import Way, exists

DEVICES = (
    *("GTX 1080 Ti", "Titan X", "RTX 2080 Ti", "Titan RTX", "V100", "T4", "RTX 3060", "RTX 3090"),
    *("RTX 4090", "A100 40GB", "H100", "L4", "Jetson AGX Orin", "RX 7900 XTX"),
    *("Xeon Gold 6226", "Xeon Silver 4114", "Core i9-10940X", "Pixel 3", "Raspberry Pi 4"),
    "TPU v3",
)
BATCHES = tuple(2**k for k in range(11))
NOISE = 0.05


def falls(predictor: Any, networks: list[Any], name: str, runtime: str | None) -> dict[str, Any]:
    """A row a device and runtime."""
    device = hardware(name)
    chosen = predictor if runtime is None else predictor.with_runtime(runtime)
    times = [chosen.predict(networks, device, batch).mean[:, 0] for batch in BATCHES]
    steps = np.log(np.stack(times[1:])) - np.log(np.stack(times[:-1]))
    settings = {chosen.model.setting(device, b).runtime for b in BATCHES} if not runtime else {""}
    return {
        "predictor": predictor.name,
        "device": name,
        "runtime": runtime or "usual",
        "doublings": int(steps.size),
        "violations": int((steps < np.log1p(-NOISE)).sum()),
        "largest_fall_percent": float(100 * max(0.0, -np.expm1(steps.min()))),
        "usual_runtimes": len(settings),
    }


def main() -> None:
    parser = Options(__doc__)
    parser.add_argument("--networks", type=int, default=30)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    nnlqp, nb201 = space("nnlqp"), space("nb201")
    networks = [nnlqp.to_graph(nnlqp.sample(rng)) for _ in range(options.networks)]
    cells = [nb201.to_graph(nb201.sample(rng)) for _ in range(options.networks)]
    whole, small = load_predictor("network-latency"), load_predictor("nb201-latency")
    rows = []
    for name in DEVICES:
        rows.append(falls(whole, networks, name, None))
        if exists(hardware(name), Way("tensorrt")):
            rows.append(falls(whole, networks, name, "tensorrt"))
        rows.append({**falls(small, cells, name, "eager")})
        print(rows[-2:], flush=True)
    write_result(
        "batch_growth",
        networks=options.networks,
        devices=len(DEVICES),
        batches=list(BATCHES),
        noise=NOISE,
        rows=rows,
    )


if __name__ == "__main__":
    main()
