"""Evaluation by tables, and the members of a space that they have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nasplug.search_spaces import InputError, space
from nasplug.studies.evaluation_table import Members, open_table

NB201 = space("nb201")
SOME = Members(NB201, [arch for k, arch in enumerate(NB201) if k % 331 == 5])


def test_tables_of_nb201(nb201_cache: Path) -> None:
    from nasplug import hardware

    device = hardware("GTX 1080 Ti")
    table, members = open_table(NB201, "cifar100", device, 32, ["accuracy", "latency_ms"])
    assert members is NB201
    assert table.identity == "nb201-accuracy cifar100_val, nb201-latency GTX 1080 Ti@32"
    assert table.way_on(device) is None
    with pytest.raises(InputError, match="no table has the latency of nb201 on RTX 3090 at batch"):
        open_table(NB201, "cifar10", hardware("RTX 3090"), 1, ["latency_ms"])
    with pytest.raises(InputError, match="measured latency needs a device"):
        open_table(NB201, "cifar10", None, 1, ["latency_ms"])
    with pytest.raises(InputError, match="no table has loss"):
        open_table(NB201, "cifar10", None, 1, ["loss"])
    with pytest.raises(InputError, match="accuracy of fbnet; these tables have it: accel, macro"):
        open_table(space("fbnet"), "imagenet", None, 1, ["accuracy"])


def test_throughput_of_a_part_of_a_space(mirror: Path) -> None:
    from nasplug import hardware

    accel = space("accel")
    wanted = ["accuracy", "throughput"]
    table, members = open_table(accel, "imagenet", hardware("RTX 3090"), 1, wanted)
    assert table.identity == "accel imagenet_val, accel RTX 3090 img/s"
    assert isinstance(members, Members)
    assert len(members) == 5122
    with pytest.raises(InputError, match="no table has the throughput of accel on Pixel 3;"):
        open_table(accel, "imagenet", hardware("Pixel 3"), 1, wanted)


def test_members() -> None:
    rng = np.random.default_rng(0)
    assert len(SOME) == len(list(SOME))
    arch = SOME.sample(rng)
    assert SOME.index(arch) == list(SOME).index(arch)
    assert SOME.from_params(SOME.to_params(arch)) == arch
    SOME.validate(SOME.mutate(arch, rng))
    assert all(SOME.index(near) >= 0 for near in SOME.neighbors(arch))
    stranger = next(a for a in NB201 if a.text not in {m.text for m in SOME})  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"is not one of the \d+ architectures of nb201"):
        SOME.validate(stranger)


def test_language_models_are_judged_by_perplexity() -> None:
    from nasplug import hardware

    gpt, h100 = space("gpt:s"), hardware("H100")
    metrics = ["perplexity", "latency_ms", "energy_j", "allocated_mb"]
    table, members = open_table(gpt, "prefill", h100, 8, metrics)
    assert table.way_on(h100) == "eager bf16"
    assert len(members) == 10_000
    assert members.quality == "perplexity"
    first = next(iter(members)).text
    assert set(table.values) == set(metrics)
    assert 20 < table.values["perplexity"][first] < 45
    with pytest.raises(InputError, match="measured at batch 8; or optimise perplexity alone"):
        open_table(gpt, "prefill", h100, 1, ["latency_ms"])
    with pytest.raises(InputError, match="no table has the accuracy of gpt:s"):
        open_table(gpt, "prefill", None, 8, ["accuracy"])
