"""The model, the floors and the intervals of left-out chips."""

import numpy as np
import pytest

from experiments.latency.gpu_rows import GpuRow, at_most, chip_of
from experiments.latency.left_out_chips import (
    SAMPLED,
    block,
    figures,
    fitted,
    interval_of,
    predicted,
    ridge,
    scaled_roofline,
    sibling,
    summary,
)
from nasplug import hardware, space
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency import fused_roofline
from nasplug.predictors.latency.fused_terms import Script

RNG = np.random.default_rng(0)
GRAPHS = [
    s.to_graph(s.sample(RNG))
    for s in (space(f"nnlqp:{name}") for name in ("resnet", "mobilenetv2", "vgg"))
]


def row(k, name, ms, batch=8, runtime="eager", source="timm somebody"):
    column = Setting(hardware(name), batch, runtime, "fp16")
    return GpuRow(f"timm:{k}", GRAPHS[k], column, ms, Script("somebody"), source)


def test_a_sibling_tells_by_its_data_sheet():
    rows = [
        row(k, name, (k + 1) * 1e3 / hardware(name).memory_bandwidth_gbs)
        for k in range(3)
        for name in ("RTX 3090", "T4", "P100")
    ]
    learned = [r for r in rows if r.chip != "T4"]
    judged = [r for r in rows if r.chip == "T4"]
    truth = np.log([r.ms for r in judged])
    np.testing.assert_allclose(sibling(learned, judged), truth, atol=1e-6)
    assert np.isnan(sibling(learned, [row(0, "T4", 1.0, runtime="tensorrt")])).all()


def test_scaled_rooflines_and_ridges_are_right_where_one_factor_is():
    names = ("RTX 3090", "T4", "V100", "A100 40GB")
    rows = [row(k, name, 1.0) for k in range(3) for name in names]
    plain = np.exp(scaled_roofline(rows, rows))
    rows = [r._replace(ms=3 * value) for r, value in zip(rows, plain, strict=True)]
    truth = np.log([r.ms for r in rows])
    np.testing.assert_allclose(scaled_roofline(rows, rows), truth, atol=1e-6)
    assert np.abs(ridge(rows, rows) - truth).mean() < 0.3


def test_forms_are_drawn_and_chips_have_twins():
    rows = [row(k % 3, "T4", 1.0 + k) for k in range(9)]
    assert len(at_most(rows, 4)) == 4
    assert chip_of(rows[0].column) == "T4"
    assert chip_of(Setting(hardware("H200"))) == "H100"
    assert block(rows[0]) == "whole networks"
    assert block(row(0, "T4", 1.0, source="gpt automl")) == "HW-GPT"


def test_the_model_learns_networks_and_operators(monkeypatch):
    monkeypatch.setattr(fused_roofline, "STEPS", 40)
    rows = [row(k, name, 1.0) for k in range(3) for name in ("RTX 3090", "T4", "V100")]
    plain = np.exp(scaled_roofline(rows, rows))
    rows = [r._replace(ms=3 * value) for r, value in zip(rows, plain, strict=True)]
    model = fitted(rows[:6], rows[6:])
    assert predicted(model, rows) == pytest.approx(np.log(3 * plain), abs=0.5)


def result(chip, errors):
    names = ["model", "ridge", "scaled roofline", "sibling"]
    values = {name: np.full(4, error) for name, error in zip(names, errors, strict=True)}
    return {
        "chip": chip,
        "group": f"timm somebody|{chip}|eager|fp16",
        "block": "whole networks",
        "networks": 4,
        **{name: figures(value) for name, value in values.items()},
        "residuals": np.quantile(-values["model"], SAMPLED).tolist(),
    }


def test_intervals_and_chips_below_their_floors_are_counted():
    rows = [result("A", (0.5, 0.6, 0.6, np.nan)), result("B", (0.5, 0.6, 0.6, 0.2))]
    assert rows[0]["model"]["mape_percent"] == pytest.approx(100 * np.expm1(0.5))
    assert rows[0]["sibling"] is None
    # What the other chip's prediction was above the truth, this one's is expected to be.
    assert interval_of(rows[0], rows) == pytest.approx((-0.5, -0.5))
    entry = summary(rows)["whole networks"]
    assert entry["sibling"]["groups"] == 1
    assert entry["chips"]["A"]["below_every_floor"]
    assert not entry["chips"]["B"]["below_every_floor"]
    assert entry["intervals"]["mean_covers_percent"] == pytest.approx(100.0)
