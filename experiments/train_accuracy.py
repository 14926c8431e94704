"""Train the shipped NAS-Bench-201 accuracy predictor on half of the cells.

The models learn from validation accuracies only. The calibration, which cannot change a ranking,
maps their scores to the test accuracies of the cells that were set aside for it inside that half.

    python experiments/train_accuracy.py [--threads 2]
"""

from __future__ import annotations

import argparse

import torch
from common import IMAGE_SETS, RUNS, SPLIT_SEED, ZOO, accuracies, cells, provenance, split

from nasplug.predictors.accuracy import AccuracyConfig, AccuracyPredictor
from nasplug.predictors.training import TrainingConfig, TrainingResult

CALIBRATION_SHARE = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--out", default=str(ZOO / "nb201-accuracy"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train, _ = split()
    _, graphs = cells()
    validation, test = accuracies()
    results: list[TrainingResult] = []

    def report(result: TrainingResult) -> None:
        results.append(result)
        print(result, flush=True)

    predictor = AccuracyPredictor(
        AccuracyConfig(
            targets=IMAGE_SETS,
            members=options.members,
            calibration_share=CALIBRATION_SHARE,
            training=TrainingConfig(
                epochs=options.epochs,
                batch_size=128,
                learning_rate=1e-3,
                weight_decay=0.05,
                # The rate falls until the end, so a pause in the middle is no reason to stop.
                patience=60,
            ),
        )
    )
    predictor.fit(
        [graphs[i] for i in train],
        validation[train],
        calibration_targets=test[train],
        folder=RUNS / f"nb201-accuracy-{options.epochs}",
        report=report,
    )
    predictor.save(
        options.out,
        {
            "name": "nb201-accuracy",
            "space": "nb201",
            "description": "CIFAR-10, CIFAR-100 and ImageNet16-120 test accuracy (%) of "
            "NAS-Bench-201 cells after 200 epochs",
            "training": {
                "cells": len(train),
                "split": f"numpy default_rng({SPLIT_SEED}).permutation(15625)[:7812]",
                "labels": "validation accuracy, mean over seeds; test accuracy only in the "
                "calibration, on the last fifth of these cells",
                "members": [result.__dict__ for result in results],
            },
            "provenance": provenance("nb201-accuracy"),
        },
    )


if __name__ == "__main__":
    main()
