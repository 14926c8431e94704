"""Write the figures of README.md and docs/ from the JSON files in results/.

    python -m experiments.make_docs [--check]

With --check nothing is written, and the exit code is 1 if a page is not what it would write.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from typing import Any

from experiments import RESULTS, ROOT
from experiments.accuracy import calibration_tables, network_accuracy_tables, predictor_tables
from experiments.accuracy.predictor_tables import table
from experiments.latency import device_tables, network_tables
from experiments.nb101 import nb101_search_tables, nb101_tables
from experiments.reliability import reliability_tables
from experiments.room_pictures import rooms
from experiments.search import search_quality_tables, search_workers_tables, study_tables
from experiments.timm import timm_tables
from nasplug.search_spaces.files import write_text


def load(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def main_job() -> str:
    job = load("main_job")
    return (
        f"```\n{job['stdout'].rstrip()}\n```\n\n"
        f"![Predicted accuracy against predicted latency](docs/images/pareto.png)\n\n"
        f"It took {job['seconds']:.0f} s on two cores ({machine(job)})."
    )


def machine(result: dict[str, Any]) -> str:
    return str(result["provenance"]["machine"]["processor"]).replace("(R)", "")


def quality() -> str:
    accuracy, latency, speed = load("accuracy_quality"), load("latency_quality"), load("throughput")
    check = load("search_check")
    lines = []
    for cover in accuracy["coverage"]:
        row = next(
            r
            for r in accuracy["ranking"]
            if r["dataset"] == cover["dataset"] and "shipped" in r["model"]
        )
        lines.append(
            [
                f"{cover['dataset']} test accuracy",
                f"Kendall tau {row['tau_test']:.3f}",
                f"{cover['coverage']:.1%}",
            ]
        )
    s = latency["summary"]
    m, g = s["measured_devices"], s["left_out_gpus"]
    lines.append(
        [
            f"latency, measured devices ({m['columns']} device × batch)",
            f"Spearman {m['mean_spearman']:.3f}, MAPE on GPUs {m['gpu_mean_mape_percent']:.1f} %",
            f"{m['mean_coverage']:.1%}",
        ]
    )
    o = s["left_out_other_devices"]
    lines.append(
        [
            "latency, a GPU model left out",
            f"Spearman {g['nasplug']['mean_spearman']:.3f}, "
            f"MAPE {g['nasplug']['mean_mape_percent']:.0f} %",
            f"{g['mean_coverage']:.1%}",
        ]
    )
    lines.append(
        [
            "latency, another device left out",
            f"Spearman {o['nasplug']['mean_spearman']:.3f}, "
            f"MAPE {o['nasplug']['mean_mape_percent']:.0f} %",
            f"{o['mean_coverage']:.1%}",
        ]
    )
    torch_row = speed["rows"][0]
    total = torch_row["seconds_from_architectures"]["median"]
    met = check["summary"]
    return (
        table(["on held-out cells", "quality", "90 % intervals cover"], lines)
        + f"\n\nAll 15,625 cells are scored for accuracy in {total:.1f} s on "
        f"{speed['threads']} cores. Of {met['returned']} architectures that "
        f"{met['searches_with_a_limit']} searches with a latency limit on measured devices "
        f"returned, {met['share_truly_met']:.1%} truly meet the limit."
    )


def accuracy_table() -> str:
    result = load("accuracy_quality")
    rows = [
        [
            r["dataset"],
            r["model"],
            f"{r['tau_test']:.4f}",
            f"{r['tau_val']:.4f}",
            f"{r['tau_test_new_functions']:.4f}",
        ]
        for r in result["ranking"]
    ]
    head = ["image set", "model", "tau, test", "tau, validation", "tau, test, new functions"]
    cover = [
        [
            c["dataset"],
            f"{c['coverage']:.1%}",
            f"{c['median_width']:.2f}",
            f"{c['coverage_best_500']:.1%}",
            f"{c['median_width_best_500']:.2f}",
            f"{c['coverage_best_50']:.0%}",
            f"{c['mean_absolute_error']:.2f}",
        ]
        for c in result["coverage"]
    ]
    return (
        table(head, rows)
        + f"\n\n{result['held_out_cells']:,} held-out cells; *new functions* are the "
        f"{result['held_out_new_functions']:,} of them of which no cell of equal function was "
        "trained on.\n\n"
        + table(
            [
                "image set",
                "90 % intervals cover",
                "median width, points",
                "best 500 covered",
                "their median width",
                "best 50 covered",
                "mean absolute error",
            ],
            cover,
        )
        + "\n\nThe intervals hold on average over cells. Among the few that are predicted best "
        "they can hold less often, because an error upwards is what brings a cell there."
    )


def latency_tables() -> str:
    result = load("latency_quality")
    measured = [
        [
            r["device"],
            str(r["batch_size"]),
            f"{r['spearman']:.3f}",
            f"{r['mape_percent']:.1f}",
            f"{r['coverage']:.1%}",
        ]
        for r in result["measured"]
    ]
    left_out = [
        [
            r["device"],
            str(r["batch_size"]),
            *(
                text
                for part in (r, r["roofline"], r["mean_of_other_devices"])
                for text in (f"{part['spearman']:.3f}", f"{part['mape_percent']:.0f}")
            ),
            f"{r['coverage']:.1%}",
            f"×{r['interval_factor'][0]:.2f} to ×{r['interval_factor'][1]:.2f}",
        ]
        for r in result["left_out"]
    ]
    s = result["summary"]
    means = [
        [
            group.replace("left_out_", "").replace("_", " "),
            *(
                text
                for method in ("nasplug", "roofline", "mean_of_other_devices")
                for text in (
                    f"{s[group][method]['mean_spearman']:.3f}",
                    f"{s[group][method]['mean_mape_percent']:.0f}",
                )
            ),
            f"{s[group]['mean_coverage']:.1%}",
        ]
        for group in ("left_out_gpus", "left_out_other_devices")
    ]
    floors = ["Spearman", "MAPE %", "roofline: Spearman", "MAPE %", "mean of others: Spearman"]
    m = s["measured_devices"]
    return (
        "### Measured devices, unseen cells\n\n"
        f"Mean Spearman {m['mean_spearman']:.3f}; mean MAPE on the GPUs "
        f"{m['gpu_mean_mape_percent']:.1f} %, at most {m['gpu_largest_mape_percent']:.1f} %; "
        f"on the other devices {m['other_mean_mape_percent']:.1f} %; mean coverage "
        f"{m['mean_coverage']:.1%}.\n\n"
        + table(["device", "batch", "Spearman", "MAPE %", "90 % intervals cover"], measured)
        + "\n\n### Left-out devices, unseen cells\n\n"
        + table(["mean over", *floors, "MAPE %", "90 % intervals cover"], means)
        + "\n\n"
        + table(
            ["device", "batch", *floors, "MAPE %", "90 % intervals cover", "interval"], left_out
        )
    )


def throughput_table() -> str:
    result = load("throughput")
    rows = [
        [
            r["backend"],
            f"{r['seconds_from_architectures']['median']:.2f}",
            f"{r['cells_per_second']:,.0f}",
            f"{r['graphs_per_second_one_model']:,.0f}",
            f"{r['gflops_a_second']:.1f}",
            f"{r['matrix_product_gflops_a_second']:.0f}",
            f"{r['share_of_matrix_product']:.1%}",
        ]
        for r in result["rows"]
    ]
    head = [
        "backend",
        "all cells, s",
        "cells/s",
        "graphs/s, network alone, one model",
        "GFLOP/s",
        "matrix product, GFLOP/s",
        "share",
    ]
    return (
        table(head, rows)
        + f"\n\nMedian of {result['repeats']} runs on {result['threads']} threads "
        f"({machine(result)}). The 15,625 cells are {result['distinct_graphs']:,} distinct "
        f"simplified graphs; each goes through {result['models_in_ensemble']} models of "
        f"{result['flops_a_graph'] / 1e6:.2f} MFLOPs (a multiply-add counts two)."
    )


def search_tables() -> str:
    result = load("search_check")
    best = [
        [
            r["device"],
            r["dataset"],
            str(r["pareto"]),
            f"{r['best_measured_test_accuracy']:.2f}",
            f"{r['best_of_the_table']:.2f}",
        ]
        for r in result["best"]
    ]
    limits = [
        [
            r["device"],
            str(r["batch_size"]),
            f"{r['bound_ms']:.2f}",
            r["bound_is"],
            f"{r['truly_met']} of {r['returned']}",
            f"{r['best_measured_test_accuracy']:.2f}",
        ]
        for r in result["limits"]
    ]
    s = result["summary"]
    return (
        table(
            ["device", "image set", "returned", "best measured", "best of all cells"],
            best,
        )
        + "\n\n### Limits\n\n"
        + f"{s['share_truly_met']:.1%} of {s['returned']} returned architectures truly meet the "
        f"limit (asked for: 90 %); in {s['searches_below_90_percent']} of "
        f"{s['searches_with_a_limit']} searches fewer than 90 % of the returned ones do.\n\n"
        + table(
            ["device", "batch", "limit, ms", "which is", "truly met", "best measured C10 test"],
            limits,
        )
    )


def equal_cells() -> str:
    result = load("equal_cells")
    rows = [
        [
            read["read"],
            held["dataset"],
            f"{read['largest_difference'][held['dataset']]:.2f}",
            f"{held['tau_test']:.4f}",
            f"{held['mean_absolute_error']:.3f}",
            f"{changed['mean_absolute_error']:.3f}",
        ]
        for read in result["rows"]
        for held, changed in zip(read["held_out"], read["held_out_changed"], strict=True)
    ]
    head = ["what is read", "image set", "largest difference of equal cells, points", "tau, test"]
    head += ["mean absolute error", "of the cells that differ"]
    few, taus = result["few_labels"], []
    for size in sorted({row["train_size"] for row in few}):
        told = []
        for read in result["rows"]:
            own = [r for r in few if (r["train_size"], r["read"]) == (size, read["read"])]
            told.append(f"{sum(r['tau_val'] for r in own) / len(own):.3f}")
        taus.append(f"{told[0]} and {told[1]} on {size} labels")
    seeds, nb101 = len({row["seed"] for row in few}), result["nb101"]
    return (
        f"The {result['cells']:,} cells of NAS-Bench-201 are {result['functions']:,} functions "
        f"({result['simplified_graphs']:,} simplified graphs, {result['ids']:,} `arch_id`s). "
        f"Reading one graph a function changes the prediction of {result['changed_cells']:,} "
        f"cells. The {nb101['cells']:,} cells of NAS-Bench-101 are {nb101['functions']:,} "
        f"functions; {nb101['cells_with_another_normal_form']:,} cells are predicted as another, "
        f"which as drawn would differ by {nb101['median_difference_as_drawn']:.2f} points in the "
        f"median, at most by {nb101['largest_difference_as_drawn']:.2f}.\n\n"
        + table(head, rows)
        + f"\n\nOn the {result['held_out_cells']:,} held-out cells. A new predictor of "
        f"CIFAR-10's validation accuracies that reads cells as drawn, and one graph a function, "
        f"has a tau over all cells of {', '.join(taus)} (means of {seeds} seeds)."
    )


SECTIONS = {
    "README.md": {"main-job": main_job, "quality": quality},
    "docs/architecture.md": {"rooms": rooms},
    "docs/results.md": {
        "accuracy": accuracy_table,
        "latency": latency_tables,
        "throughput": throughput_table,
        "search": search_tables,
    },
    "docs/few-labels.md": predictor_tables.SECTIONS,
    "docs/predictors.md": {"equal-cells": equal_cells},
    "docs/latency.md": {
        **network_tables.SECTIONS,
        **device_tables.SECTIONS,
        **timm_tables.SECTIONS,
    },
    "docs/hardware.md": calibration_tables.SECTIONS,
    "docs/spaces.md": network_accuracy_tables.SECTIONS,
    "docs/nb101.md": nb101_tables.SECTIONS | nb101_search_tables.SECTIONS,
    "docs/plots.md": study_tables.SECTIONS,
    "docs/sampler.md": search_quality_tables.SECTIONS,
    "docs/cluster.md": search_workers_tables.SECTIONS,
    "docs/reliability.md": reliability_tables.SECTIONS,
}


def filled(page: str, name: str, content: str) -> str:
    pattern = rf"(<!-- begin: {name} -->\n).*?(<!-- end: {name} -->)"
    found, count = re.subn(pattern, lambda m: f"{m[1]}\n{content}\n\n{m[2]}", page, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"section {name!r} stands {count} times in the page, not once")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    stale = []
    for file, sections in SECTIONS.items():
        path = ROOT / file
        before = path.read_text(encoding="utf-8")
        page = before
        for name, make in sections.items():
            page = filled(page, name, make())
        if page != before:
            stale.append(file)
            if not options.check:
                write_text(path, page)
    if options.check and stale:
        sys.exit(f"not up to date: {', '.join(stale)}; run python -m experiments.make_docs")


if __name__ == "__main__":
    main()
