"""Checksums in a study's storage, so that damage is reported and never taken for a result.

Each record of a journal carries a checksum, and in a database each finished trial does. Records of
other programs have none and are read unchecked.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nasplug.search_spaces import InputError

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, TrialState

__all__ = ["check_trials", "checksum_of_trial", "is_whole", "record_line"]

# Key of the checksum in a record of a journal.
_RECORD = "crc32"
# Beginning of the system attribute with a finished trial's checksum; the trial's state follows. If
# two processes end a trial in different ways, both attributes exist, and the one of the state that
# the storage has counts.
_TRIAL = "nasplug:crc32:"
# Times that a trial is read before it counts as damaged, and seconds between them.
_LOOKS, _PAUSE = 4, 0.1


def _crc32(content: Any) -> str:
    text = json.dumps(content, separators=(",", ":"), sort_keys=True)
    return f"{zlib.crc32(text.encode()):08x}"


def record_line(record: Mapping[str, Any]) -> str:
    """Line of a journal for a record, with its checksum; plain Optuna reads it too."""
    # The checksum is that of the record as it is read back, with texts as keys.
    record = json.loads(json.dumps(record))
    return json.dumps({**record, _RECORD: _crc32(record)}, separators=(",", ":")) + "\n"


def is_whole(record: Mapping[str, Any]) -> bool:
    """Whether a record fits its checksum; a record without a checksum counts as whole."""
    checksum = record.get(_RECORD)
    return checksum is None or checksum == _crc32({k: v for k, v in record.items() if k != _RECORD})


def checksum_of_trial(
    trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
) -> tuple[str, str]:
    """Name and text of the system attribute with a trial's checksum, of all but its times.

    The trial is as its storage returns it, before it ends in this state with these values.
    """
    from optuna.distributions import distribution_to_json

    content = {
        "state": state.name,
        "values": None if values is None else [float(value) for value in values],
        "params": trial.params,
        "distributions": {n: distribution_to_json(d) for n, d in trial.distributions.items()},
        "user_attrs": trial.user_attrs,
        "system_attrs": {n: v for n, v in trial.system_attrs.items() if not n.startswith(_TRIAL)},
        "reported": {str(step): value for step, value in trial.intermediate_values.items()},
    }
    return f"{_TRIAL}{state.name}", _crc32(content)


def check_trials(study: Study) -> None:
    """Check the trials of a study by their checksums.

    Raises:
        InputError: If a trial differs from its checksum; the sentence has its number.
    """
    for trial in study.get_trials(deepcopy=False):
        latest = trial
        for _ in range(_LOOKS):
            if _is_right(latest):
                break
            # A database is read in several steps, between which the trial may have ended.
            time.sleep(_PAUSE)
            latest = study._storage.get_trial(trial._trial_id)
        else:
            raise InputError(
                f"trial {trial.number} of study {study.study_name!r} is damaged (it does not "
                "match its checksum); restore the storage from a copy, or delete that trial"
            )


def _is_right(trial: FrozenTrial) -> bool:
    checksums = {n: v for n, v in trial.system_attrs.items() if n.startswith(_TRIAL)}
    # Values come with the end of a trial: a running trial that has values was changed.
    has_ended = trial.state.is_finished() or trial.values is not None
    if not checksums or not has_ended:
        return True
    name, text = checksum_of_trial(trial, trial.state, trial.values)
    return bool(checksums.get(name) == text)
