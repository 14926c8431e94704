"""Write the figures of README.md and docs/ from the JSON files in results/.

    python -m experiments.make_docs [--check]

With --check nothing is written, and the exit code is 1 if a page is not what it would write.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from statistics import median
from typing import Any

from experiments import ROOT, diagrams
from experiments.accuracy import accuracy_tables
from experiments.accuracy.published import PUBLISHED
from experiments.room_pictures import rooms
from experiments.tables import (
    SECTIONS,
    cells,
    grouped,
    load,
    merged,
    section,
    spread,
    table,
    table_of,
)
from nasplug.search_spaces.files import write_text


@section("main-job")
def main_job() -> str:
    job = load("main_job")
    return (
        f"```\n{job['stdout'].rstrip()}\n```\n\n"
        f"It took {job['seconds']:.0f} s on two cores ({machine(job)})."
    )


def machine(result: dict[str, Any]) -> str:
    return str(result["provenance"]["machine"]["processor"]).replace("(R)", "")


@section("quality")
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
        name = f"{cover['dataset']} test accuracy"
        lines.append([name, f"Kendall tau {row['tau_test']:.3f}", f"{cover['coverage']:.1%}"])
    summary = latency["summary"]
    measured = summary["measured_devices"]
    ranks = f"Spearman {measured['mean_spearman']:.3f}"
    lines.append(
        [
            f"latency, measured devices ({measured['columns']} device × batch)",
            f"{ranks}, MAPE on GPUs {measured['gpu_mean_mape_percent']:.1f} %",
            f"{measured['mean_coverage']:.1%}",
        ]
    )
    for name, group in (("a GPU model", "gpus"), ("another device", "other_devices")):
        left_out = summary[f"left_out_{group}"]
        means = left_out["nasplug"]
        ranks = f"Spearman {means['mean_spearman']:.3f}"
        text = f"{ranks}, MAPE {means['mean_mape_percent']:.0f} %"
        lines.append([f"latency, {name} left out", text, f"{left_out['mean_coverage']:.1%}"])
    total = speed["rows"][0]["seconds_from_architectures"]["median"]
    met = check["summary"]
    return (
        table("on held-out cells | quality | 90 % intervals cover", lines)
        + f"\n\nAll 15,625 cells are scored for accuracy in {total:.1f} s on "
        f"{speed['threads']} cores. {met['searches_with_a_limit']} searches with a latency limit "
        f"on measured devices returned {met['returned']} architectures; the measured latency of "
        f"{met['share_truly_met']:.1%} of them is within the limit."
    )


@section("accuracy")
def accuracy_table() -> str:
    result = load("accuracy_quality")
    ranks = table_of(
        "image set | model | tau, test | tau, validation | tau, test, new functions",
        "{dataset} | {model} | {tau_test:.4f} | {tau_val:.4f} | {tau_test_new_functions:.4f}",
        result["ranking"],
    )
    intervals = table_of(
        "image set | 90 % intervals cover | median width, points | best 500 covered | "
        "their median width | best 50 covered | mean absolute error",
        "{dataset} | {coverage:.1%} | {median_width:.2f} | {coverage_best_500:.1%} | "
        "{median_width_best_500:.2f} | {coverage_best_50:.0%} | {mean_absolute_error:.2f}",
        result["coverage"],
    )
    return (
        f"{ranks}\n\n{result['held_out_cells']:,} held-out cells; *new functions* are the "
        f"{result['held_out_new_functions']:,} of them of which no cell of equal function was "
        f"trained on.\n\n{intervals}\n\n"
        "The intervals hold on average over cells. Among the few that are predicted best "
        "they can hold less often, because an error upwards is what brings a cell there."
    )


@section("latency")
def latency_tables() -> str:
    result = load("latency_quality")
    summary = result["summary"]
    mean = summary["measured_devices"]
    floors = "Spearman | MAPE % | roofline: Spearman | MAPE % | mean of others: Spearman | MAPE %"
    measured = table_of(
        "device | batch | Spearman | MAPE % | 90 % intervals cover",
        "{device} | {batch_size} | {spearman:.3f} | {mape_percent:.1f} | {coverage:.1%}",
        result["measured"],
    )
    means = table_of(
        f"mean over | {floors} | 90 % intervals cover",
        "{name} | "
        + "".join(
            f"{{{method}[mean_spearman]:.3f}} | {{{method}[mean_mape_percent]:.0f}} | "
            for method in ("nasplug", "roofline", "mean_of_other_devices")
        )
        + "{mean_coverage:.1%}",
        [
            summary[f"left_out_{group}"] | {"name": group.replace("_", " ")}
            for group in ("gpus", "other_devices")
        ],
    )
    left_out = table_of(
        f"device | batch | {floors} | 90 % intervals cover | interval",
        "{device} | {batch_size} | {spearman:.3f} | {mape_percent:.0f} | {roofline[spearman]:.3f} "
        "| {roofline[mape_percent]:.0f} | {mean_of_other_devices[spearman]:.3f} | "
        "{mean_of_other_devices[mape_percent]:.0f} | {coverage:.1%} | "
        "×{interval_factor[0]:.2f} to ×{interval_factor[1]:.2f}",
        result["left_out"],
    )
    return (
        "### Measured devices, unseen cells\n\n"
        f"Mean Spearman {mean['mean_spearman']:.3f}; mean MAPE on the GPUs "
        f"{mean['gpu_mean_mape_percent']:.1f} %, at most {mean['gpu_largest_mape_percent']:.1f} %; "
        f"on the other devices {mean['other_mean_mape_percent']:.1f} %; mean coverage "
        f"{mean['mean_coverage']:.1%}.\n\n{measured}\n\n"
        f"### Left-out devices, unseen cells\n\n{means}\n\n{left_out}"
    )


@section("throughput")
def throughput_table() -> str:
    result = load("throughput")
    speeds = table_of(
        "backend | all cells, s | cells/s | graphs/s, network alone, one model | GFLOP/s | "
        "matrix product, GFLOP/s | share",
        "{backend} | {seconds_from_architectures[median]:.2f} | {cells_per_second:,.0f} | "
        "{graphs_per_second_one_model:,.0f} | {gflops_a_second:.1f} | "
        "{matrix_product_gflops_a_second:.0f} | {share_of_matrix_product:.1%}",
        result["rows"],
    )
    return (
        f"{speeds}\n\nMedian of {result['repeats']} runs on {result['threads']} threads "
        f"({machine(result)}). The 15,625 cells are {result['distinct_graphs']:,} distinct "
        f"simplified graphs; each goes through {result['models_in_ensemble']} models of "
        f"{result['flops_a_graph'] / 1e6:.2f} MFLOPs (a multiply-add counts two)."
    )


@section("quick-start")
def quick_start() -> str:
    result = load("quick_start")
    lines = []
    for job, title in (("main_job", "README's main job"), ("nb101", "`search --space nb101`")):
        for figure, unit, digits in (
            ("seconds", "s", 1),
            ("first_output_seconds", "s until its first output", 1),
            ("processor_seconds", "s of all cores", 1),
            ("peak_megabytes", "MB at most", 0),
        ):
            medians = [rows[job][figure]["median"] for rows in _before_and_after(result)]
            lines.append([f"{title}, {unit}", *(f"{value:.{digits}f}" for value in medians)])
    cells_of = [rows["all_cells"] for rows in _before_and_after(result)]
    seconds = (f"{row['seconds_from_architectures']['median']:.2f}" for row in cells_of)
    lines.append(["accuracy of all 15,625 cells, s", *seconds])
    shares = (f"{row['share_of_matrix_product']:.0%}" for row in cells_of)
    lines.append(["its networks, of the machine's matrix product", *shares])
    return (
        f"{table('from the shell | before | after', lines)}\n\n"
        f"Medians of {result['repeats']} runs on {result['threads']} threads ({machine(result)}), "
        f"before and after in turn; the machine's load was {min(result['loads']):.1f} to "
        f"{max(result['loads']):.1f}."
    )


def _before_and_after(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [result["rows"]["before"], result["rows"]["after"]]


@section("search")
def search_tables() -> str:
    result = load("search_check")
    summary = result["summary"]
    best = table_of(
        "device | image set | returned | best measured | best of all cells",
        "{device} | {dataset} | {pareto} | {best_measured_test_accuracy:.2f} | "
        "{best_of_the_table:.2f}",
        result["best"],
    )
    limits = table_of(
        "device | batch | limit, ms | which is | truly met | best measured C10 test",
        "{device} | {batch_size} | {bound_ms:.2f} | {bound_is} | {truly_met} of {returned} | "
        "{best_measured_test_accuracy:.2f}",
        result["limits"],
    )
    return (
        f"{best}\n\n### Limits\n\n"
        f"{summary['share_truly_met']:.1%} of {summary['returned']} returned architectures truly "
        f"meet the limit (asked for: 90 %); in {summary['searches_below_90_percent']} of "
        f"{summary['searches_with_a_limit']} searches fewer than 90 % of the returned ones do.\n\n"
        f"{limits}"
    )


@section("equal-cells")
def equal_cells() -> str:
    result = load("equal_cells")
    rows = [
        {**held, "read": read["read"], "changed": changed, "largest": read["largest_difference"]}
        for read in result["rows"]
        for held, changed in zip(read["held_out"], read["held_out_changed"], strict=True)
    ]
    differences = table_of(
        "what is read | image set | largest difference of equal cells, points | tau, test | "
        "mean absolute error | of the cells that differ",
        "{read} | {dataset} | {difference:.2f} | {tau_test:.4f} | {mean_absolute_error:.3f} | "
        "{changed[mean_absolute_error]:.3f}",
        [row | {"difference": row["largest"][row["dataset"]]} for row in rows],
    )
    few, taus = result["few_labels"], []
    by_read = grouped(few, "train_size", "read")
    for size in sorted({row["train_size"] for row in few}):
        groups = [by_read[size, read["read"]] for read in result["rows"]]
        first, second = (cells("{tau_val:.3f}", merged(group))[0] for group in groups)
        taus.append(f"{first} and {second} on {size} labels")
    seeds, nb101 = len({row["seed"] for row in few}), result["nb101"]
    return (
        f"The {result['cells']:,} cells of NAS-Bench-201 are {result['functions']:,} functions "
        f"({result['simplified_graphs']:,} simplified graphs, {result['ids']:,} `arch_id`s). "
        f"Reading one graph a function changes the prediction of {result['changed_cells']:,} "
        f"cells. The {nb101['cells']:,} cells of NAS-Bench-101 are {nb101['functions']:,} "
        f"functions; {nb101['cells_with_another_normal_form']:,} cells are predicted as another, "
        f"which as drawn would differ by {nb101['median_difference_as_drawn']:.2f} points in the "
        f"median, at most by {nb101['largest_difference_as_drawn']:.2f}.\n\n"
        f"{differences}\n\n"
        f"On the {result['held_out_cells']:,} held-out cells. A new predictor of "
        f"CIFAR-10's validation accuracies that reads cells as drawn, and one graph a function, "
        f"has a tau over all cells of {', '.join(taus)} (means of {seeds} seeds)."
    )


@section("beside")
def beside() -> str:
    """Published figures, ours beside them, and what is known of the published protocol."""
    few = [
        row["tau_val"]
        for row in accuracy_tables.ranked()
        if (row["model"], row["dataset"], row["train_size"]) == ("nasplug", "cifar10", 78)
    ]
    transformers = load("left_out_chips")["summary"]["NeuSight"]
    chips = {name: row["model"] for name, row in transformers["chips"].items()}
    rows = [
        [
            "NAS-Bench-201, about 78 cells learned: Kendall's tau",
            f"FlowerFormer (Hwang et al., CVPR 2024): {PUBLISHED['FlowerFormer'][0][78]:.3f}",
            f"{spread(few)}, {len(few)} draws, validation accuracy of CIFAR-10, all cells ranked",
            "learned from 1 % of half of the cells; read in a summary of the paper, which names "
            "neither the draw nor the image set, nor whether validation or test accuracies count",
        ],
        [
            "NAS-Bench-101, best test accuracy after 100, 150, 200 queries, in percent",
            "WeakNAS (Wu et al., NeurIPS 2021): 93.66, 94.10, 94.17",
            "not measured: it takes the official file, which is downloaded by hand",
            "its code begins with 100 random cells, learns their validation accuracies, adds 10 "
            "cells at a time, and asks for means over 100 runs",
        ],
        [
            "Transformers on GPUs that were left out: mean absolute percentage error of latency",
            "NeuSight (Lee et al., ASPLOS 2025): 2.3 % for GPT-3 on the H100 "
            "(3.8 % in the first version on arXiv)",
            f"{chips['H100']:.1f} % on the H100, {chips['MI250']:.1f} % on the MI250; median over "
            f"{len(chips)} chips {median(chips.values()):.1f} %, all inference in fp32, on the "
            "measurements that NeuSight published",
            "its training data had neither GPT-3 nor the H100; training and inference of "
            "transformers; ours leaves each chip out in turn, with its twins, and learned "
            "operators on the other chips from the same tables",
        ],
    ]
    return table("task | published | nasplug | what is known of the published protocol", rows)


section("rooms")(rooms)
MARKED = re.compile(r"(<!-- begin: (\S+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)
# Pages that hold tables above all, and how many rows of one they show at once.
RESULTS = ("docs/results", "docs/few-labels.md")
SHOWN = 12


def folded(content: str) -> str:
    """Hide tables of more than `SHOWN` rows until a reader opens them."""

    def fold(found: re.Match[str]) -> str:
        rows = found[0].count("\n") - 2  # without the names of columns and the line below
        if rows <= SHOWN:
            return found[0]
        names = found[0].partition("\n")[0].strip("| ").replace(" | ", "; ")
        summary = f"<summary>{rows} rows: {names}</summary>"
        return f'<details markdown="1">\n{summary}\n\n{found[0]}\n</details>\n'

    return re.sub(r"(?:^\|.*\n)+", fold, f"{content}\n", flags=re.MULTILINE).rstrip("\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    for file in (ROOT / "experiments").glob("*/*_tables.py"):
        importlib.import_module(f"experiments.{file.parent.name}.{file.stem}")
    stale, made = [], []
    for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        before = path.read_text(encoding="utf-8")
        name = path.relative_to(ROOT).as_posix()
        shown = folded if name.startswith(RESULTS) else str
        page = MARKED.sub(lambda m: f"{m[1]}\n{shown(SECTIONS[m[2]]())}\n\n{m[3]}", before)  # noqa: B023
        made += [name for _, name, _ in MARKED.findall(before)]
        if page != before:
            stale.append(str(path.relative_to(ROOT)))
            if not options.check:
                write_text(path, page)
    if sorted(made) != sorted(SECTIONS):
        sys.exit(f"not once in the pages: {', '.join(SECTIONS.keys() ^ set(made)) or made}")
    if not options.check:
        diagrams.main()
    if options.check and stale:
        sys.exit(f"not up to date: {', '.join(stale)}; run python -m experiments.make_docs")


if __name__ == "__main__":
    main()
