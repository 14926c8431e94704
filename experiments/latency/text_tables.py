"""The table of texts of devices beside their figures, for docs/few-labels.md."""

from __future__ import annotations

from experiments.tables import MISSING, grouped, load, merged, section, table

CLASSES = {"gpu": "GPUs", "cpu": "CPUs", "other": "NPUs, GPUs of phones and boards"}
TESTS = {"bias": "error of the class model", "latency": "latency of networks"}


@section("text-vectors")
def text_vectors() -> str:
    """A row a test and class, a column a description of devices."""
    runs = load("text_vectors")["runs"]
    variants = list(dict.fromkeys(run["variant"] for run in runs))
    body = []
    for (test, group), own in grouped(runs, "test", "class").items():
        by_variant = grouped(own, "variant")
        means = [
            merged(by_variant[(name,)]) if (name,) in by_variant else None for name in variants
        ]
        cells = [f"{mean['mean_log_error']:±.3f}" if mean else MISSING for mean in means]
        body.append([TESTS[test], f"{CLASSES[group]} ({own[0]['chips']})", *cells])
    return table(["what is predicted", "devices (chips)", *variants], body)
