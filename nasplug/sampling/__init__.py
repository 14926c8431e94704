"""The Optuna sampler: models of the trials, and the choice of the next architecture."""
