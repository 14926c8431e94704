"""Fit the shipped NAS-Bench-201 accuracy predictor to half of the cells.

The process learns from validation accuracies only. The calibration, which cannot change a ranking,
maps its leave-one-out predictions to the test accuracies of the same half.

    python -m experiments.zoo.train_accuracy [--threads 2]
"""

from __future__ import annotations

import time

from experiments.campaign import Options
from experiments.common import IMAGE_SETS, SPLIT_SEED, ZOO, accuracies, cells, provenance, split
from nasplug import create_predictor


def main() -> None:
    parser = Options(__doc__, threads=2)
    parser.add_argument("--out", default=str(ZOO / "nb201-accuracy"))
    options = parser.parse_args()
    train, _ = split()
    _, graphs = cells()
    validation, test = accuracies()
    predictor = create_predictor("accuracy", "nb201", targets=IMAGE_SETS)
    started = time.perf_counter()
    predictor.fit([graphs[i] for i in train], validation[train], calibration_targets=test[train])
    seconds = time.perf_counter() - started
    encoder = predictor.model.encoder
    predictor.save(
        options.out,
        name="nb201-accuracy",
        description="CIFAR-10, CIFAR-100 and ImageNet16-120 test accuracy (%) of NAS-Bench-201 "
        "cells after 200 epochs",
        training={
            "cells": len(train),
            "split": f"numpy default_rng({SPLIT_SEED}).permutation(15625)[:7812]",
            "labels": "validation accuracy, mean over seeds; test accuracy only in the calibration "
            "of the same cells",
            "encoder": f"pretrained on the space without labels, {encoder.parameters} weights",
            "seconds": round(seconds),
        },
        provenance=provenance("nb201-accuracy"),
    )


if __name__ == "__main__":
    main()
