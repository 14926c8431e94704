"""Studies that several processes share: their storages, their trials, and evaluations of trials."""
