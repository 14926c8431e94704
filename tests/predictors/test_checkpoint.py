import hashlib
import json
import os
import pickle
import warnings

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nasplug.predictors.checkpoint import (
    load_checkpoint,
    load_model,
    restoring,
    save_checkpoint,
)
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
    assert [p.name for p in saved.parent.iterdir()] == ["mine.safetensors"]


def test_saving_what_was_loaded_keeps_every_byte(saved):
    before = saved.with_name("mine.safetensors").read_bytes()
    checkpoint = load_checkpoint(saved)
    save_checkpoint(saved, checkpoint.tensors, checkpoint.card)
    assert saved.with_name("mine.safetensors").read_bytes() == before


def test_any_reader_of_safetensors_reads_it(saved):
    from safetensors import safe_open

    with safe_open(f"{saved}.safetensors", "numpy") as file:
        np.testing.assert_array_equal(file.get_tensor("a"), TENSORS["a"])
        assert json.loads(file.metadata()["card"])["predictor"] == "accuracy"


def test_every_flipped_bit_is_said(saved):
    file = saved.with_name("mine.safetensors")
    content = file.read_bytes()
    for place in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        file.write_bytes(damaged)
        with pytest.raises(InputError):
            load_checkpoint(saved)


@pytest.mark.parametrize("size", [0, 7, 8, 100, -4, -1])
def test_a_part_of_a_file_is_refused(saved, size):
    file = saved.with_name("mine.safetensors")
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(InputError, match="is damaged"):
        load_checkpoint(saved)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="cannot read .*nothing.safetensors"):
        load_checkpoint(tmp_path / "nothing")


def test_a_card_without_a_key(tmp_path):
    save_checkpoint(tmp_path / "mine", TENSORS, {"predictor": "accuracy"})
    with pytest.raises(InputError, match="lacks the key 'config'"):
        load_checkpoint(tmp_path / "mine")


@pytest.fixture
def pair(saved, as_pair):
    return as_pair(saved.with_name("mine.safetensors"))


def test_the_two_files_of_earlier_versions_are_read(pair):
    for path in (pair, pair.with_suffix(""), pair.with_suffix(".safetensors")):
        with pytest.warns(UserWarning, match="without a checksum"):
            checkpoint = load_checkpoint(path)
        assert checkpoint.card["config"] == {"dim": 8}
        np.testing.assert_array_equal(checkpoint.tensors["a"], TENSORS["a"])


def test_saving_over_a_pair_leaves_one_file(pair):
    save_checkpoint(pair.with_suffix(""), {"a": np.ones(2)}, CARD)
    assert [p.name for p in pair.parent.iterdir()] == ["mine.safetensors"]
    assert load_checkpoint(pair).tensors["a"].tolist() == [1.0, 1.0]


def test_the_card_of_a_pair_does_not_count_beside_a_new_file(pair):
    # As after a kill between the rename of the new file and the removal of the old card.
    card = pair.read_text()
    save_checkpoint(pair.with_suffix(""), {"a": np.ones(2)}, {**CARD, "config": {"dim": 9}})
    pair.write_text(card)
    assert load_checkpoint(pair).card["config"] == {"dim": 9}
    assert load_checkpoint(pair).tensors["a"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("content", ['{"targets": ["a"]}', "[]", "", "[" * 100_000])
def test_another_json_of_the_name_is_left_alone(tmp_path, content):
    (tmp_path / "mine.json").write_text(content)
    save_checkpoint(tmp_path / "mine", TENSORS, CARD)
    assert (tmp_path / "mine.json").read_text() == content
    assert load_checkpoint(tmp_path / "mine.json").card["config"] == {"dim": 8}


def test_tampered_weights_of_a_pair(pair):
    file = pair.with_suffix(".safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match="is damaged or belongs to another card"):
        load_checkpoint(pair)


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ("", "is not the JSON card"),
        ("[]", "has format 'list'"),
        ('{"format": "other"}', "has format 'other'"),
        ('{"format": "nasplug-predictor-1"}', "lacks the key 'predictor'"),
        ("[" * 100_000, "is not the JSON card"),
    ],
)
def test_a_card_that_is_not_ours(pair, card, words):
    pair.write_text(card)
    with pytest.raises(InputError, match=words):
        load_checkpoint(pair)


def test_a_pickle_is_not_run(pair, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "was-run"),)

    content = pickle.dumps(Evil())
    pair.with_suffix(".safetensors").write_bytes(content)
    card = json.loads(pair.read_text()) | {"sha256": hashlib.sha256(content).hexdigest()}
    pair.write_text(json.dumps(card))
    with pytest.raises(InputError, match="is not a safetensors file"):
        load_checkpoint(pair)
    assert not (tmp_path / "was-run").exists()


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
def test_damaged_files_never_raise_anything_else(tmp_path, as_pair, data):
    save_checkpoint(tmp_path / "mine", TENSORS, CARD)
    as_pair(tmp_path / "mine.safetensors")
    file = tmp_path / data.draw(st.sampled_from(["mine.json", "mine.safetensors"]))
    content = bytearray(file.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    file.write_bytes(content)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            load_checkpoint(tmp_path / "mine")
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert "without a checksum" in str(said[0].message)


@pytest.mark.parametrize(
    "short",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes."),
    ],
)
def test_short_memory_is_not_blamed_on_the_card(short):
    with (
        pytest.raises(MemoryError, match="not enough memory for a cell-gp"),
        restoring("a cell-gp"),
    ):
        raise short


@pytest.mark.parametrize("error", [AttributeError("x"), OverflowError("y\nz"), KeyError("k")])
def test_every_other_error_is(error):
    with (
        pytest.raises(InputError, match="the card does not describe a cell-gp: "),
        restoring("a cell-gp"),
    ):
        raise error


def test_a_card_cannot_ask_for_more_memory_than_is_stored():
    def build():
        made.append(torch.get_default_device().type)
        return torch.nn.Linear(1 << 20, 1 << 20)

    made: list[str] = []
    with pytest.raises(InputError, match="do not fit the model of the card: weight is"):
        load_model(build, {"weight": np.ones((2, 2), np.float32)})
    assert made == ["meta"]


def test_loading_a_model_draws_from_no_global_generator():
    weights = {name: value.numpy() for name, value in torch.nn.Linear(2, 2).state_dict().items()}
    before = torch.random.get_rng_state()
    load_model(lambda: torch.nn.Linear(2, 2), weights)
    assert torch.equal(before, torch.random.get_rng_state())
