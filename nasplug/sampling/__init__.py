"""The Optuna sampler: what trials teach, and which architecture is next."""
