"""Published Kendall taus on NAS-Bench-201, CIFAR-10, to be set apart from measured ones.

Only figures that were read in a table of the authors ("table") or in a review or summary of the
paper ("second-hand"); what is merely remembered is left out.
"""

from __future__ import annotations

SIZES = (78, 156, 469, 781, 1563)


def _table(*taus: float) -> tuple[dict[int, float], str]:
    return dict(zip(SIZES, taus, strict=True)), "table in PINAT's repository"


# Method -> tau by training cells, and where the figures were read.
PUBLISHED: dict[str, tuple[dict[int, float], str]] = {
    "Neural Predictor": _table(0.343, 0.413, 0.584, 0.634, 0.646),
    "NAO": _table(0.467, 0.493, 0.470, 0.522, 0.526),
    "arch2vec": _table(0.542, 0.573, 0.601, 0.606, 0.605),
    "Graphormer": _table(0.505, 0.630, 0.680, 0.719, 0.776),
    "TNASP": _table(0.539, 0.589, 0.640, 0.689, 0.724),
    "PINAT": _table(0.549, 0.631, 0.706, 0.761, 0.784),
    "NAR-Former V2": ({156: 0.752, 1563: 0.888}, "second-hand"),
    "NN-Former": ({156: 0.804, 1563: 0.890}, "second-hand"),
    "FlowerFormer": ({78: 0.790}, "second-hand"),
}
