"""The table of docs/plots.md, from the result of study_plots.py."""

from __future__ import annotations

from collections.abc import Callable

from experiments.tables import load, table

KINDS = ("two objectives", "one objective under a limit")


def intervals() -> str:
    result = load("study_plots")
    rows = []
    for kind in KINDS:
        shares = result[kind]
        for metric in ("accuracy (%)", "latency (ms)"):
            if metric in shares:
                rows.append([kind, f"{metric} in its interval", "90%", f"{shares[metric]:.0%}"])
        if "feasible" in shares:
            expected, came = shares["expected_feasible"], shares["feasible"]
            rows.append([kind, "trial is feasible", f"{expected:.0%}", f"{came:.0%}"])
    counts = ", ".join(f"{kind}: {result[kind]['trials']}" for kind in KINDS)
    seeds = f"{result[KINDS[0]]['studies']} seeds of {result['trials_a_study']} trials each"
    return (
        table(["study", "what", "expected", "came"], rows)
        + f"\n\n{seeds}; trials of which something was expected, {counts}."
    )


SECTIONS: dict[str, Callable[[], str]] = {"study-intervals": intervals}
