from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasplug.candidates.constraints import (
    LEAST,
    Constraint,
    checked_devices,
    for_devices,
    parse_constraint,
    parse_constraints,
)
from nasplug.quantities import QUANTITIES
from nasplug.search_spaces import InputError


def test_macs_are_flops() -> None:
    assert parse_constraint("macs<=100M") == parse_constraint("flops<=100M")
    with pytest.raises(InputError, match="known: macs, latency, throughput"):
        parse_constraint("mac<=100M")
    with pytest.raises(InputError, match="flops has two bounds"):
        parse_constraints(["macs<=100M", "flops<=90M"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latency<=5ms", ("latency", 5.0, "ms", "<=")),
        ("latency <= 0.005 s", ("latency", 5.0, "ms", "<=")),
        ("latency<=700us", ("latency", 0.7, "ms", "<=")),
        ("latency<=700 µs", ("latency", 0.7, "ms", "<=")),
        ("latency<=700μs", ("latency", 0.7, "ms", "<=")),
        ("params<=1.2M", ("params", 1.2e6, "count", "<=")),
        ("params <= 300000", ("params", 3e5, "count", "<=")),
        ("flops<=100M", ("flops", 1e8, "count", "<=")),
        ("flops>=1e6", ("flops", 1e6, "count", ">=")),
        (" accuracy>=92% ", ("accuracy", 92.0, "%", ">=")),
        ("fps>=30", ("throughput", 30.0, "img/s", ">=")),
        ("throughput >= 1.5k", ("throughput", 1500.0, "img/s", ">=")),
        ("fps>=30fps", ("throughput", 30.0, "img/s", ">=")),
        ("memory<=1GB", ("memory", 1000.0, "MB", "<=")),
        ("memory<=64MiB", ("memory", 67.108864, "MB", "<=")),
        ("size<=500kB", ("size", 0.5, "MB", "<=")),
        ("energy<=500mJ", ("energy", 0.5, "J", "<=")),
    ],
)
def test_reads_units(text: str, expected: tuple[str, float, str, str]) -> None:
    c = parse_constraint(text, 0.8)
    assert (c.name, c.bound, c.unit, c.sense) == expected
    assert c.probability == 0.8


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("latency<=5", "has no unit; use ms, us, µs, s"),
        ("latency<=5kg", "unknown unit 'kg'"),
        ("latency<=5 MS", "unknown unit 'MS'"),
        ("accuracy>=0.92", "has no unit; use %"),
        ("params<=5ms", "unknown unit 'ms'"),
        ("latency<5ms", "has <; use <= or >="),
        ("latency>5ms", "has >; use <= or >="),
        ("latency=5ms", "has =; use <= or >="),
        ("latency=<5ms", "has =<; use <= or >="),
        ("latency", "has no <= or >="),
        ("<=5ms", "names no quantity"),
        ("", "has no <= or >="),
        ("latecy<=5ms", "known: latency"),
        ("memori<=5MB", "known: memory, "),
        ("memory<=5", "has no unit; use MB, B, kB, GB, KiB, MiB, GiB"),
        ("fps>=30ms", "unknown unit 'ms'; use img/s, fps, images/s, k"),
        ("latency<=five ms", "is not a number"),
        ("latency<=nanms", "is not a number"),
        ("latency<=infms", "is not a number"),
        ("latency<=1e-320ms", "is not a number from 1e-09 to 1e+18 ms"),
        ("params<=1e-12", "is not a number from 1e-09 to 1e+18;"),
        ("latency<=1e999ms", "is not a number from 1e-09 to 1e+18 ms"),
        ("latency<=0ms", "is not a number from 1e-09 to 1e+18 ms"),
        ("latency<=-5ms", "is not a number from 1e-09 to 1e+18 ms"),
        ("latency<=1e-400s", "is not a number from 1e-09 to 1e+18 ms"),
        ("latency<=1e" + "9" * 5000 + "ms", "is not a number from 1e-09 to 1e+18 ms"),
        ("accuracy>=920%", "above 100 %"),
    ],
)
def test_bad_text_is_told_in_one_sentence(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_constraint(text)
    message = str(caught.value)
    assert said in message
    assert "\n" not in message
    assert len(message) < 300


@given(
    st.text()
    | st.from_regex(r"(latency|flops|accuracy|fps|memory)[<>=]{1,2}.{0,20}", fullmatch=True)
)
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        c = parse_constraint(text)
    except InputError:
        return
    assert parse_constraint(str(c)) == c


@given(
    st.sampled_from(sorted(QUANTITIES)),
    st.floats(min_value=LEAST, max_value=100),
    st.sampled_from(["<=", ">="]),
    st.floats(min_value=0.01, max_value=0.99),
)
def test_print_and_parse_round_trip(
    name: str, bound: float, sense: str, probability: float
) -> None:
    c = Constraint(name, bound, QUANTITIES[name].unit, sense, probability)
    assert parse_constraint(str(c), probability) == c


@pytest.mark.parametrize(
    "fields",
    [
        ("speed", 5.0, "J", "<="),
        ("memory", 5.0, "B", "<="),
        ("latency", 5.0, "s", "<="),
        ("latency", 5.0, "ms", "<"),
        ("latency", float("nan"), "ms", "<="),
        ("latency", 5.0, "ms", "<=", 1.0),
        ("latency", 5.0, "ms", "<=", 0.0),
    ],
)
def test_fields_are_checked(fields: tuple[str, float, str, str]) -> None:
    with pytest.raises(InputError):
        Constraint(*fields)


def test_many() -> None:
    assert parse_constraints(None) == ()
    assert parse_constraints("latency<=5ms") == (parse_constraint("latency<=5ms"),)
    both = parse_constraints(["flops>=1M", "flops<=2M"], 0.8)
    assert [c.probability for c in both] == [0.8, 0.8]
    with pytest.raises(InputError, match="two bounds"):
        parse_constraints(["latency<=5ms", "latency<=6ms"])


@pytest.mark.parametrize("value", [4, None, ["latency<=4ms"]])
def test_a_constraint_that_is_no_text_is_refused(value):
    with pytest.raises(InputError, match="is no text; write it like latency<=5ms"):
        parse_constraint(value)


def test_limits_name_devices_of_the_search() -> None:
    devices = checked_devices(["RTX 3090", "Jetson Nano"], ())
    limits = parse_constraints(["latency@rtx3090<=5ms", "energy<=2J", "memory<=1GB"])
    named = [str(c) for c in for_devices(limits, devices)]
    assert named == [
        "latency@RTX 3090<=5ms",
        "energy@RTX 3090<=2J",
        "energy@Jetson Nano<=2J",
        "memory<=1000MB",
    ]
    assert limits[2].shown == "memory<=1GB"
    assert [str(c) for c in for_devices(limits[:1], devices[:1])] == ["latency<=5ms"]
    assert parse_constraint(named[0]).name == "latency@RTX 3090"
    with pytest.raises(InputError, match="does not have: it has RTX 3090, Jetson Nano"):
        for_devices(parse_constraints("fps@H100>=5"), devices)
    with pytest.raises(InputError, match="two bounds"):
        for_devices(parse_constraints(["latency<=5ms", "latency@RTX 3090<=9ms"]), devices)
    with pytest.raises(InputError, match="memory is the same on all"):
        parse_constraint("memory@RTX 3090<=1GB")
    with pytest.raises(InputError, match="names no device after its @"):
        parse_constraint("latency@<=1ms")
    with pytest.raises(InputError, match="RTX 3090 is given twice"):
        checked_devices(["RTX 3090", "rtx3090"], ())
