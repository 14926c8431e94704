"""Studies that several processes share: where they are kept, and how their trials are run.

`storages` opens a journal file or a database, `trials` runs trials in threads, `evaluation` says
what gives their values: a table, a command or a function. The room knows Optuna and data sets, and
no sampler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasplug.search_spaces.lazy import loader

if TYPE_CHECKING:
    from nasplug.studies.evaluation import Evaluation, Function, Request, TrialFailure
    from nasplug.studies.evaluation_command import Command

__all__ = ["Command", "Evaluation", "Function", "Request", "TrialFailure"]

__getattr__ = loader(
    __name__,
    {
        "Command": "nasplug.studies.evaluation_command",
        "Evaluation": "nasplug.studies.evaluation",
        "Function": "nasplug.studies.evaluation",
        "Request": "nasplug.studies.evaluation",
        "TrialFailure": "nasplug.studies.evaluation",
    },
)
