"""Studies that several processes share: where they are kept, and how their trials are run.

`storages` opens a journal file or a database, `trials` runs trials in threads, `evaluation` says
what gives their values: a table, a command or a function. The room knows Optuna and data sets, and
no sampler.
"""
