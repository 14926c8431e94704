"""Single bits that are flipped in a journal: told, harmless, or silently wrong.

    python -m experiments.reliability.journal_flips [--trials 30] [--flips 250] [--seed 0]

The journal is one that a search over NAS-Bench-201 wrote, its trials looked up in the benchmark's
table. Of each damaged copy the study is read as `nasplug report` reads it. "said": refused in one
sentence that names the line; "equal": all trials and settings are as before; "wrong": read without
a word, and different. Written to results/journal_flips.json.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import optuna

import nasplug
from experiments.campaign import Options
from experiments.common import write_result
from nasplug.reports.study_report import find_study
from nasplug.search_spaces import InputError

STUDY = "flips"


def written(folder: Path, trials: int) -> bytes:
    """A journal of a search."""
    path = folder / "study.journal"
    nasplug.search(
        "nb201", n_trials=trials, evaluate="table", storage=path, study_name=STUDY, progress=False
    )
    return path.read_bytes()


def content(path: Path) -> list[Any]:
    """Read everything that a study holds."""
    study = find_study(path, STUDY)
    trials = study.get_trials(deepcopy=False)
    values = [(t.number, t.state, t.values, t.params, t.distributions) for t in trials]
    attributes = [
        (t.user_attrs, t.system_attrs, t.constraints, t.intermediate_values) for t in trials
    ]
    times = [(t.datetime_start, t.datetime_complete) for t in trials]
    return [study.directions, study.user_attrs, study.metric_names, values, attributes, times]


def flips(content_of: bytes, folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Count the outcomes of so many flips of one bit each, at random positions.

    Args:
        content_of: The bytes of a whole journal.
        folder: For the damaged copies.
        count: How many flips.
        seed: Of the positions.
    """
    rng = np.random.default_rng(seed)
    path = folder / "flipped.journal"
    path.write_bytes(content_of)
    wanted = content(path)
    outcomes: Counter[str] = Counter()
    wrong = []
    for place, bit in zip(
        rng.integers(0, len(content_of), count), rng.integers(0, 8, count), strict=True
    ):
        damaged = bytearray(content_of)
        damaged[place] ^= 1 << int(bit)
        path.write_bytes(bytes(damaged))
        line = content_of[:place].count(b"\n") + 1
        try:
            outcome = "equal" if content(path) == wanted else "wrong"
        except InputError as error:
            outcome = "said" if f"(line {line} " in str(error) else "said of another line"
        outcomes[outcome] += 1
        if outcome == "wrong":
            wrong.append([int(place), int(bit)])
    keys = ("said", "said of another line", "equal", "wrong")
    return {
        "bytes": len(content_of),
        "tried": count,
        **{key.replace(" ", "_"): outcomes[key] for key in keys},
        "wrong_at": wrong,
        "seed": seed,
    }


def main() -> None:
    parser = Options(__doc__, threads=None)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--flips", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        row = flips(written(folder, options.trials), folder, options.flips, options.seed)
    print(row)
    write_result("journal_flips", "nb201-accuracy", trials=options.trials, **row)


if __name__ == "__main__":
    main()
