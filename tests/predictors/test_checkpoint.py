import json
import os
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nasplug.predictors.checkpoint import load_checkpoint, save_checkpoint
from nasplug.predictors.files import atomic_path, write_text
from nasplug.search_spaces import InputError

TENSORS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b.c": np.array([1.5])}
CARD = {"predictor": "accuracy", "config": {"dim": 8}}


@pytest.fixture
def saved(tmp_path):
    save_checkpoint(tmp_path / "mine", TENSORS, CARD)
    return tmp_path / "mine"


def test_round_trip(saved):
    for path in (saved, f"{saved}.json", f"{saved}.safetensors"):
        checkpoint = load_checkpoint(path)
        assert checkpoint.card["config"] == {"dim": 8}
        assert checkpoint.section("b") == {"c": np.array([1.5])}
        np.testing.assert_array_equal(checkpoint.tensors["a"], TENSORS["a"])
    assert sorted(p.name for p in saved.parent.iterdir()) == ["mine.json", "mine.safetensors"]


def test_saving_what_was_loaded_keeps_it(saved):
    checkpoint = load_checkpoint(saved)
    save_checkpoint(saved, checkpoint.tensors, checkpoint.card)
    np.testing.assert_array_equal(load_checkpoint(saved).tensors["a"], TENSORS["a"])


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="cannot read .*nothing.json"):
        load_checkpoint(tmp_path / "nothing")


def test_tampered_weights(saved):
    file = saved.with_name("mine.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match="is damaged or belongs to another card"):
        load_checkpoint(saved)


def test_truncated_weights(saved):
    file = saved.with_name("mine.safetensors")
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(InputError, match="is damaged"):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ("", "is no JSON card"),
        ("[]", "has format 'list'"),
        ('{"format": "other"}', "has format 'other'"),
        ("[" * 100_000, "is no JSON card"),
    ],
)
def test_a_card_that_is_not_ours(saved, card, words):
    saved.with_name("mine.json").write_text(card)
    with pytest.raises(InputError, match=words):
        load_checkpoint(saved)


def test_a_card_without_a_key(saved):
    file = saved.with_name("mine.json")
    card = json.loads(file.read_text())
    del card["config"]
    file.write_text(json.dumps(card))
    with pytest.raises(InputError, match="lacks the key 'config'"):
        load_checkpoint(saved)


def test_a_pickle_is_not_run(saved, tmp_path):
    import hashlib

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "was-run"),)

    content = pickle.dumps(Evil())
    saved.with_name("mine.safetensors").write_bytes(content)
    file = saved.with_name("mine.json")
    card = json.loads(file.read_text()) | {"sha256": hashlib.sha256(content).hexdigest()}
    file.write_text(json.dumps(card))
    with pytest.raises(InputError, match="is no safetensors file"):
        load_checkpoint(saved)
    assert not (tmp_path / "was-run").exists()


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
def test_damaged_files_never_raise_anything_else(tmp_path, data):
    save_checkpoint(tmp_path / "mine", TENSORS, CARD)
    file = tmp_path / data.draw(st.sampled_from(["mine.json", "mine.safetensors"]))
    content = bytearray(file.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    file.write_bytes(content)
    try:
        load_checkpoint(tmp_path / "mine")
    except InputError as error:
        assert "\n" not in str(error)


def test_atomic_write_leaves_nothing_when_it_fails(tmp_path):
    target = tmp_path / "file.txt"
    write_text(target, "before")

    def fail():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail()
    assert target.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


def test_a_reader_of_the_old_file_is_not_disturbed(tmp_path):
    target = tmp_path / "file.txt"
    write_text(target, "before")
    with open(target, encoding="utf-8") as reader:
        write_text(target, "after")
        assert reader.read() == "before"
    assert target.read_text() == "after"
