"""Predictions for architectures and whole networks, by the predictors of the package."""
