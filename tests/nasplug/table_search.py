"""The command line with measured tables in place of the zoo's predictors, for subprocess tests."""

from __future__ import annotations

import os
import sys

from table_predictors import TablePredictor

from nasplug import cli
from nasplug.searching import prepare as search_module
from nasplug.searching.objectives import PredictedObjective

search_module.predictors_for = lambda space, latency, given, **_: {  # type: ignore[assignment]
    q: TablePredictor(q) for q in (("accuracy", "latency") if latency else ("accuracy",))
}

if os.environ.get("DIE_AFTER_TRIALS"):
    left = int(os.environ["DIE_AFTER_TRIALS"])
    how = os.environ["DIE_HOW"]
    evaluate = PredictedObjective.__call__

    def dying(self, trial):  # type: ignore[no-untyped-def]
        global left  # noqa: PLW0603
        left -= 1
        values = evaluate(self, trial)
        if left < 0:
            if how == "interrupt":
                raise KeyboardInterrupt
            os._exit(9)
        return values

    PredictedObjective.__call__ = dying  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.argv[0] = "nasplug"
    cli.main()
