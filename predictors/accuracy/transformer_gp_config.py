"""What `TransformerGP` predicts and how: its options and its kernels."""

from __future__ import annotations

from dataclasses import dataclass

from nasplug.predictors.statistics.gaussian_process import Term
from nasplug.search_spaces import InputError

__all__ = ["KERNELS", "SOURCE_TERMS", "TransformerGPConfig", "kernel_terms"]

# Name -> summands of the kernel. "full" was chosen among others by marginal likelihood, "cells" by
# validation accuracies of draws of labels that nothing is reported of.
KERNELS: dict[str, tuple[Term, ...]] = {
    "full": (
        (("summaries", "rbf"),),
        (("embedding", "matern52"),),
        (("responses", "rbf"), ("summaries", "rbf")),
        (("embedding", "rbf"), ("summaries", "rbf")),
    ),
    "embedding": ((("embedding", "matern52"),),),
    "cells": (
        (("paths", "rbf"),),
        (("summaries", "rbf"),),
        (("paths", "rbf"), ("summaries", "rbf")),
        (("ends", "rbf"), ("pairs", "rbf"), ("summaries", "rbf")),
    ),
    "paths": (
        (("paths", "rbf"),),
        (("summaries", "rbf"),),
        (("paths", "rbf"), ("summaries", "rbf")),
    ),
}
# Those that read no encoder.
WITHOUT_ENCODER = ("cells", "paths")
# Added where there is a source.
SOURCE_TERMS: tuple[Term, ...] = ((("source", "rbf"),), (("source", "rbf"), ("summaries", "rbf")))


@dataclass(frozen=True)
class TransformerGPConfig:
    """What a `TransformerGP` predicts and how.

    Attributes:
        targets: Names of the columns, such as image sets.
        units: Unit of all columns.
        kernel: One of `KERNELS`; `"auto"` is `"full"` with an encoder and `"cells"` without one.
        simplified: Whether graphs of equal function count as one, as they should wherever the
            target is a property of the function.
        members: Fine-tuned networks.
        finetune_from: Labels from which on networks are fine-tuned: with fewer they add little and
            take longer than all the rest.
        hyperparameter_rows: At most as many graphs decide the kernel's hyperparameters; all are
            learned from.
        seed: Decides which.
    """

    targets: tuple[str, ...] = ("accuracy",)
    units: str = "%"
    kernel: str = "auto"
    simplified: bool = True
    members: int = 2
    finetune_from: int = 1000
    hyperparameter_rows: int = 500
    seed: int = 0


def kernel_terms(kernel: str, *, has_encoder: bool) -> tuple[Term, ...]:
    """The summands of a kernel of `KERNELS`, or of `"auto"`.

    Raises:
        InputError: If there is no such kernel, or it reads an encoder that is not there.
    """
    if kernel == "auto":
        kernel = "full" if has_encoder else "cells"
    if kernel not in KERNELS:
        raise InputError(f"unknown kernel {kernel!r}; there are auto, {', '.join(KERNELS)}")
    if not has_encoder and kernel not in WITHOUT_ENCODER:
        raise InputError(
            f"kernel {kernel!r} reads a pretrained encoder; give one, or use kernel='cells'"
        )
    return KERNELS[kernel]
