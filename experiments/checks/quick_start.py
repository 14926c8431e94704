"""Time what a user waits for, before and after a change: two checkouts in turn, each by its Python.

    python -m experiments.checks.quick_start [--before CHECKOUT PYTHON] [--repeats 5]

Runs the main job and a search of nb101 from the shell, and the scoring of all cells of nb201
(`throughput`) in a process of its own. Writes results/quick_start.json.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from experiments import ROOT
from experiments.campaign import Options
from experiments.checks.main_job import COMMAND
from experiments.checks.throughput import summary
from experiments.common import write_result

# What each run measures of a command.
FIGURES = ("seconds", "first_output_seconds", "peak_megabytes")
JOBS = {"main_job": COMMAND, "nb101": ("search", "--space", "nb101")}


def run(checkout: Path, python: str, words: tuple[str, ...]) -> dict[str, float]:
    """Run a command in a new process, without a study or a cache of earlier ones."""
    with tempfile.TemporaryDirectory() as folder:
        places = {"HOME": folder, "XDG_STATE_HOME": folder, "NASPLUG_CACHE": folder}
        threads = {name: value for name, value in os.environ.items() if name.startswith("OMP_")}
        reading, writing = os.pipe()
        first: list[float] = []
        start = time.perf_counter()
        process = subprocess.Popen(
            [python, "-c", "from nasplug.cli import main; main()", *words],
            cwd=checkout,
            env={"PATH": os.environ["PATH"], "COLUMNS": "80", **threads, **places},
            stdout=writing,
            stderr=writing,
        )
        os.close(writing)

        def read() -> None:
            with os.fdopen(reading, "rb") as output:
                if output.read(1):
                    first.append(time.perf_counter() - start)
                output.read()

        reader = threading.Thread(target=read)
        reader.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        reader.join()
    if process.returncode:
        sys.exit(f"nasplug {' '.join(words)} ended with exit code {process.returncode}")
    # Linux counts kilobytes.
    return dict(zip(FIGURES, (seconds, first[0], usage.ru_maxrss / 1024), strict=True))


def scored(checkout: Path, python: str, repeats: int) -> dict[str, Any]:
    """Seconds for all cells and share of the matrix product, by the checkout's own script."""
    words = [python, "-m", "experiments.checks.throughput", "--repeats", str(repeats)]
    subprocess.run(words, cwd=checkout, check=True, stdout=subprocess.DEVNULL)
    result = json.loads((checkout / "experiments/results/throughput.json").read_text())
    row: dict[str, Any] = result["rows"][0]
    return {name: row[name] for name in ("seconds_from_architectures", "share_of_matrix_product")}


def main() -> None:
    parser = Options(__doc__, threads=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--before", nargs=2, metavar=("CHECKOUT", "PYTHON"))
    options = parser.parse_args()
    checkouts = {"after": (ROOT, sys.executable)}
    if options.before:
        checkouts["before"] = (Path(options.before[0]).resolve(), options.before[1])
    runs: dict[str, dict[str, list[dict[str, float]]]] = {
        name: {job: [] for job in JOBS} for name in checkouts
    }
    loads = []
    for _ in range(options.repeats):
        for job, words in JOBS.items():
            for name, (checkout, python) in checkouts.items():
                loads.append(os.getloadavg()[0])
                runs[name][job].append(run(checkout, python, words))
                print(name, job, runs[name][job][-1], flush=True)
    rows: dict[str, Any] = {}
    for name, (checkout, python) in checkouts.items():
        rows[name] = {
            job: {figure: summary([each[figure] for each in kept]) for figure in FIGURES}
            for job, kept in runs[name].items()
        }
        rows[name]["all_cells"] = scored(checkout, python, options.repeats)
        print(name, rows[name]["all_cells"], flush=True)
    write_result(
        "quick_start", repeats=options.repeats, threads=options.threads, loads=loads, rows=rows
    )


if __name__ == "__main__":
    main()
