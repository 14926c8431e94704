"""A device with its measurements, as an object and as JSON."""

import copy
import dataclasses
import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasplug import InputError, hardware
from nasplug.predictors import Hardware
from nasplug.predictors.latency.device_profile import DeviceProfile, MeasuredNetworks
from nasplug.search_spaces import Graph, space

NB = space("nb201")
RESNET = space("nnlqp:resnet")


def measured(where=NB, count=4):
    rng = np.random.default_rng(0)
    archs = [where.sample(rng) for _ in range(count)]
    return MeasuredNetworks(
        tuple(a.text for a in archs), np.arange(1.0, count + 1) / 3, tuple(where.to_graphs(archs))
    )


def same(a: Graph, b: Graph) -> bool:
    return (a.ops, a.edges) == (b.ops, b.edges) and np.array_equal(a.attributes, b.attributes)


@pytest.mark.parametrize("where", [NB, RESNET], ids=lambda s: s.name)
def test_measurements_survive_json(where):
    before = measured(where)
    after = MeasuredNetworks.from_json(json.loads(json.dumps(before.to_json())))
    assert after.archs == before.archs
    np.testing.assert_array_equal(after.latencies, before.latencies)
    assert all(map(same, after.graphs, before.graphs))


def test_one_node_without_edges_survives():
    lone = MeasuredNetworks(("a",), np.array([2.0]), (Graph(("Relu",), ()),))
    after = MeasuredNetworks.from_json(json.loads(json.dumps(lone.to_json())))
    assert same(after.graphs[0], lone.graphs[0])


def test_a_profile_is_hardware_with_fields_that_json_takes():
    profile = DeviceProfile(hardware("T4"), "nb201", 8, measured())
    assert isinstance(profile, Hardware)
    assert profile.power_w == hardware("T4").power_w
    assert (profile.space, profile.batch_size, len(profile.sha256)) == ("nb201", 8, 64)
    names = [field.name for field in dataclasses.fields(profile)]
    assert "measured" not in " ".join(names)
    json.dumps({name: getattr(profile, name) for name in names if name != "peak_tflops"})
    for other in (pickle.loads(pickle.dumps(profile)), copy.deepcopy(profile)):
        assert other == profile
        assert other.measured.archs == profile.measured.archs


def test_the_digest_tells_what_predictions_depend_on():
    base = DeviceProfile(hardware("T4"), "nb201", 1, measured())
    other = measured()
    other.latencies[2] *= 1.001
    noted = Hardware(**{**vars(hardware("T4")), "note": "mine", "aliases": ("x",)})
    stronger = Hardware(**{**vars(hardware("T4")), "power_w": 71.0})
    assert DeviceProfile(noted, "nb201", 1, measured()).sha256 == base.sha256
    for profile in (
        DeviceProfile(stronger, "nb201", 1, measured()),
        DeviceProfile(hardware("T4"), "nnlqp", 1, measured()),
        DeviceProfile(hardware("T4"), "nb201", 2, measured()),
        DeviceProfile(hardware("T4"), "nb201", 1, other),
        DeviceProfile(hardware("T4"), "nb201", 1, measured(count=3)),
    ):
        assert profile.sha256 != base.sha256


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("latency_ms",), None, "latency_ms of the measured networks is not a list"),
        (("latency_ms",), [1, "2", 3, 4], "latency_ms"),
        (("latency_ms",), [1, 2, 3, -4], "not positive"),
        (("latency_ms",), [1, 2, 3], "4 measured architectures, 3 latencies and 4 graphs"),
        (("latency_ms",), [1, 2, 3, 10**400], "latency_ms"),
        (("arch",), ["a", "b", "c", 4], "arch of the measured networks is not a list of strings"),
        (("vocabulary",), "abc", "vocabulary"),
        (("vocabulary",), ["input"], "ops of the measured networks is out of range"),
        (("graphs",), [], "lack"),
        (("graphs", "sizes"), [8, 8, 8], "arrays differ in length|3 graphs"),
        (("graphs", "sizes"), [8, 8, 8, -8], "sizes of the measured networks is out of range"),
        (("graphs", "sizes"), [32, 0, 0, 0], "network is empty|edge"),
        (("graphs", "sizes"), [8.5, 8, 8, 8], "not a list of whole numbers"),
        (("graphs", "sizes"), [[8], [8]], "not a list of whole numbers"),
        (("graphs", "ops"), [0], "arrays differ in length"),
        (("graphs", "edges"), [[0], [0, 1]], "edges"),
        (("graphs", "edges"), [[0] * 40] * 3, "not pairs"),
        (("graphs", "edges"), [[7] * 40, [0] * 40], "does not go forward"),
        (("graphs", "attributes"), [[0.0]], "out of range|differ in length"),
        (("graphs", "attributes"), [[float("inf")]], "finite"),
        (("graphs", "attribute_rows"), [99] * 32, "attribute_rows"),
    ],
)
def test_what_is_damaged_is_named(path, value, said):
    table = measured().to_json()
    *outer, last = path
    place = table
    for key in outer:
        place = place[key]
    place[last] = value
    with pytest.raises(InputError, match=said):
        MeasuredNetworks.from_json(table)
    if path == ("latency_ms",):
        del table["latency_ms"]
        with pytest.raises(InputError, match="lack 'latency_ms'"):
            MeasuredNetworks.from_json(table)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@settings(max_examples=200)
@given(key=st.sampled_from(["arch", "latency_ms", "vocabulary", "graphs", None]), value=json_values)
def test_any_table_is_read_or_refused(key, value):
    table = value if key is None else {**measured().to_json(), key: value}
    try:
        found = MeasuredNetworks.from_json(table)
    except InputError:
        return
    assert len(found.archs) == len(found.graphs) == len(found.latencies)


@settings(max_examples=200)
@given(name=st.sampled_from(sorted(measured().to_json()["graphs"])), data=st.data())
def test_any_arrays_are_read_or_refused(name, data):
    table = measured().to_json()
    array = table["graphs"][name]
    flat = array if name not in ("edges", "attributes") else array[0]
    flat[data.draw(st.integers(0, len(flat) - 1))] = data.draw(
        st.integers(-3, 300) | st.floats() | st.none()
    )
    try:
        found = MeasuredNetworks.from_json(table)
    except InputError:
        return
    assert all(np.isfinite(graph.attributes).all() for graph in found.graphs)
