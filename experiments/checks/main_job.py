"""Run README's main job as a user without benchmark data would, and keep what it prints.

    python -m experiments.checks.main_job [--keep-times]

With `--keep-times` the seconds of the last run stay, for a machine that does other work now.
Writes results/main_job.json (the output, the exit code, the seconds) and docs/images/pareto.png.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from experiments import ROOT
from experiments.common import write_result
from experiments.tables import load

COMMAND = ("search", "--space", "nb201", "--hw", "RTX 3090")
IMAGES = ROOT / "docs" / "images"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep-times", action="store_true")
    keep_times = parser.parse_args().keep_times
    program = Path(sys.executable).with_name("nasplug")
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": folder,
            "XDG_STATE_HOME": f"{folder}/state",
            "NASPLUG_CACHE": f"{folder}/cache",
            "COLUMNS": "80",
        }

        def run(*more: str) -> tuple[subprocess.CompletedProcess[str], float]:
            start = time.perf_counter()
            done = subprocess.run(
                [str(program), *COMMAND, *more],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
            return done, time.perf_counter() - start

        first, seconds = run()
        again, seconds_again = run("--report", "report")
        # The next steps name the command.
        texts = [done.stdout.partition("next steps:")[0] for done in (first, again)]
        assert texts[0] == texts[1]
        IMAGES.mkdir(exist_ok=True)
        shutil.copyfile(f"{folder}/report/pareto.png", IMAGES / "pareto.png")
    start = time.perf_counter()
    subprocess.run([str(program), "--help"], capture_output=True, check=True)
    times = {
        "seconds": seconds,
        "seconds_of_finished_study": seconds_again,
        "seconds_of_help": time.perf_counter() - start,
    }
    if keep_times:
        earlier = load("main_job")
        times = {name: earlier[name] for name in times}
    write_result(
        "main_job",
        command="nasplug " + " ".join(f'"{w}"' if " " in w else w for w in COMMAND),
        stdout=first.stdout,
        **times,
    )


if __name__ == "__main__":
    main()
