"""Calibrating on whole networks: one profile serves every space of them, and no space of cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from roofline_predictor import Roofline
from scipy.stats import spearmanr

from nasplug import InputError, datasets, hardware, load_predictor
from nasplug.calibrating.calibrate import calibrate
from nasplug.predicting.few_shot import familiar, promise
from nasplug.predicting.zoo import ArchitecturePredictor
from nasplug.predictors import Hardware
from nasplug.predictors.latency.device_profile import DeviceProfile, MeasuredNetworks
from nasplug.search_spaces import space

FBNET, MACRO, RESNET = (space(name) for name in ("fbnet", "macro", "nnlqp:resnet"))


@pytest.fixture
def predictor() -> ArchitecturePredictor:
    return ArchitecturePredictor("roofline", FBNET, Roofline())


@pytest.fixture(scope="module")
def board(mirror: Path) -> pd.DataFrame:
    """Real latencies of 300 FBNet networks on a board."""
    table = datasets.load("fbnet-latency").iloc[np.random.default_rng(4).permutation(5000)[:300]]
    frame = pd.DataFrame({"arch": table["arch"], "latency_ms": table["Raspberry Pi 4@1"]})
    return frame.reset_index(drop=True)


def own(name: str = "mine") -> Hardware:
    return Hardware(**{**vars(hardware("Raspberry Pi 4")), "name": name, "aliases": ()})


def test_ten_real_networks(
    board: pd.DataFrame, predictor: ArchitecturePredictor, tmp_path: Path
) -> None:
    done = calibrate(own(), board[:10], FBNET, predictor=predictor, out=tmp_path / "mine.json")
    assert done.profile.space == "fbnet"
    # No other device is asked.
    assert predictor.model.asked == {"mine@1"}
    rest = board[10:]
    said = predictor.predict(list(rest.arch), tmp_path / "mine.json")
    assert said.evidence == "few-shot"
    assert spearmanr(said.mean[:, 0], rest.latency_ms)[0] > 0.85
    inside = (said.lower[:, 0] <= rest.latency_ms) & (rest.latency_ms <= said.upper[:, 0])
    assert inside.mean() > 0.85
    # The data sheet alone is farther off.
    assert done.data_sheet_mape_percent > 2 * done.mape_percent


def test_one_profile_serves_all_whole_networks(
    board: pd.DataFrame, predictor: ArchitecturePredictor, tmp_path: Path
) -> None:
    profile = calibrate(
        own(), board[:10], FBNET, predictor=predictor, out=tmp_path / "m.json"
    ).profile
    rng = np.random.default_rng(0)
    for where in (MACRO, RESNET):
        archs = [where.sample(rng) for _ in range(5)]
        said = predictor.for_space(where).predict(archs, profile)
        assert said.evidence == "few-shot"
        assert np.isfinite(said.upper).all()
        # Networks unlike the measured ones are told, and get what the data sheet has at most.
        asked = predictor.for_space(where)
        graphs = where.to_graphs(archs)
        # Blocks of MobileNets are in both FBNet and the macro space.
        assert where is MACRO or not familiar(asked, profile, graphs, 1).any()
        half = promise(asked.model, profile, 1, graphs)[1]
        assert (np.log(said.upper / said.lower)[:, 0] / 2 <= half + 0.01).all()
    like = [FBNET.sample(rng) for _ in range(5)]
    assert familiar(predictor, profile, FBNET.to_graphs(like), 1).all()
    with pytest.raises(InputError, match="calibrated with networks of space fbnet, which say too"):
        load_predictor("nb201-latency").predict([space("nb201")[0]], profile)  # type: ignore[index]


def test_cells_say_nothing_of_whole_networks(predictor: ArchitecturePredictor) -> None:
    cells = space("nb201")
    archs = [cells[k] for k in range(3)]  # type: ignore[index]
    measured = MeasuredNetworks(
        tuple(a.text for a in archs), np.ones(3), tuple(cells.to_graphs(archs))
    )
    profile = DeviceProfile(own(), "nb201", 1, measured)
    with pytest.raises(InputError, match="calibrated with networks of space nb201, which say too"):
        predictor.predict([FBNET.sample(np.random.default_rng(0))], profile)
