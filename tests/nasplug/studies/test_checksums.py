"""Checksums of records and trials: what is whole passes, and any change is found."""

from __future__ import annotations

import json
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial

from nasplug.search_spaces import InputError
from nasplug.studies.checksums import check_trials, checksum_of_trial, is_whole, record_line

values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
records = st.dictionaries(st.text(), values | st.lists(values, max_size=3), max_size=5)


@given(records, st.text(), values)
def test_a_record_is_whole_until_it_is_changed(
    record: dict[str, Any], key: str, value: object
) -> None:
    line = record_line(record)
    assert line.endswith("\n")
    assert line.count("\n") == 1
    written = json.loads(line)
    assert is_whole(written)
    changed = {**written, key: value}
    before, after = (json.dumps(content, sort_keys=True) for content in (written, changed))
    if key != "crc32" and before != after:
        assert not is_whole(changed)


def test_a_record_of_another_program_has_no_checksum() -> None:
    assert is_whole({"op_code": 0})


def study_of(**changes: Any) -> optuna.Study:
    """A study of one trial with a checksum, changed after the checksum was made."""
    trial = create_trial(values=[1.5], user_attrs={"a": 1})
    name, text = checksum_of_trial(trial, TrialState.COMPLETE, [1.5])
    fields = {"values": [1.5], "user_attrs": {"a": 1}, **changes}
    study = optuna.create_study(study_name="s")
    study.add_trial(create_trial(system_attrs={name: text}, **fields))
    return study


def test_an_altered_trial_is_named() -> None:
    check_trials(study_of())
    for change in ({"values": [1.6]}, {"user_attrs": {"a": 2}}, {"user_attrs": {}}):
        with pytest.raises(InputError, match="trial 0 of study 's' is damaged"):
            check_trials(study_of(**change))
