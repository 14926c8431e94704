"""Predictions of all members of a space, of which the predictor itself gave some.

The others are those of a fast model, fitted to the exact ones.

Notation: `rows` are indices of members, `(k,)`; `values` hold center and logarithm of the spread
of a prediction, `(k, 2)`; a row is exact if the predictor itself gave it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nasplug.arrays import Array, Indices, Mask
from nasplug.candidates.fast_model import CountRidge
from nasplug.predictors.prediction import Prediction

__all__ = ["MemberPredictions", "one_column", "values_of"]

# Standard errors by which the fast model is allowed to be wrong.
DOUBT = 2.0


@dataclass(eq=False)
class MemberPredictions:
    """A predicted quantity of all members, in the scale of its prediction.

    Attributes:
        target: Its column in the predictor's answers.
        prediction: A row for each member.
        exact: Mask of the rows that the predictor itself gave, `(members,)`.
        errors: Errors of the fast model on members that it had not seen, `(k,)`; empty if the
            predictor gave every row.
    """

    target: str
    prediction: Prediction
    exact: Mask
    errors: Array

    @property
    def error(self) -> float:
        """Root mean square of `errors`."""
        return float(np.sqrt(np.mean(self.errors**2))) if len(self.errors) else 0.0

    def set_exact(self, rows: Indices, values: Array) -> None:
        """Put the predictor's own values of some members into the arrays."""
        self.prediction.center[rows, 0] = values[:, 0]
        self.prediction.spread[rows, 0] = np.exp(values[:, 1])
        self.exact[rows] = True

    def refit(self, model: CountRidge) -> None:
        """Fit the fast model to all exact rows, and set the others by it."""
        exact, others = np.flatnonzero(self.exact), ~self.exact
        center, spread = self.prediction.center[:, 0], self.prediction.spread[:, 0]
        values = np.stack([center[exact], np.log(spread[exact])], axis=1)
        guess = model.predict_all(exact, values)
        # A linear model must not extrapolate beyond the values it was fitted to.
        guess = np.clip(guess, values.min(axis=0) - self.error, values.max(axis=0) + self.error)
        center[others] = guess[others, 0]
        # Its own error comes on top of the predictor's.
        variance = np.exp(2 * guess[others, 1]) + (self.error / _unit(self.prediction)) ** 2
        spread[others] = np.sqrt(variance)

    def at(self, rows: Indices) -> Prediction:
        """The prediction of some members."""
        whole = self.prediction
        return replace(whole, center=whole.center[rows], spread=whole.spread[rows])

    def hoped(self, sign: float) -> MemberPredictions:
        """The best that can be hoped for, as far as the fast model may be wrong.

        Args:
            sign: +1 if less of the quantity is better, -1 if more is.
        """
        if self.exact.all():
            return self
        center = self.prediction.center - sign * DOUBT * self.error * ~self.exact[:, None]
        return replace(self, prediction=replace(self.prediction, center=center))


def values_of(prediction: Prediction, target: str) -> Array:
    """Center, and logarithm of the spread, of one column; shape `(n, 2)`."""
    k = prediction.column(target)
    return np.stack([prediction.center[:, k], np.log(prediction.spread[:, k])], axis=1)


def one_column(prediction: Prediction, target: str, values: Array) -> Prediction:
    """A prediction of one column with other centers and spreads, as in `values_of`."""
    k = prediction.column(target)
    return replace(
        prediction,
        targets=(target,),
        units=(prediction.units[k],),
        center=values[:, :1].copy(),
        spread=np.exp(values[:, 1:]),
        residuals=prediction.residuals[:, k : k + 1],
        log_scale=(prediction.log_scale[k],),
    )


def _unit(prediction: Prediction) -> float:
    """Standard deviation of the normalised residuals of a prediction."""
    levels = np.linspace(0.01, 0.99, 99)
    return float(np.std(np.interp(levels, prediction.levels, prediction.residuals[:, 0])))
