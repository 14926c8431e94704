"""Energies of the zoo: known GPUs, a limit in a study, networks of one's own, and the command."""

import numpy as np
import optuna

import nasplug
from nasplug.datasets.gpt_networks import gpt_table
from nasplug.predicting.zoo import is_known, kind_of, load_shipped, zoo_name
from nasplug.predictors.features.runtimes import known_way

GPT = nasplug.space("gpt:s")


def test_the_zoo_predicts_measured_energies():
    energy = load_shipped(GPT, "energy")
    assert is_known(GPT, "energy")
    assert zoo_name(GPT, "energy") == energy.name == "network-energy"
    assert (kind_of(energy), energy.targets) == ("energy", ("energy",))
    assert not is_known(nasplug.space("nb201"), "energy")
    frame = gpt_table("s").to_frame().iloc[::500]
    halved = energy.in_way(known_way("eager bf16"))
    predicted = halved.predict(list(frame["arch"]), "H100", 8)
    off = np.abs(predicted.mean[:, 0] / frame["H100@8 J"].to_numpy() - 1)
    assert predicted.evidence == "measured"
    assert off.mean() < 0.05
    # Without a way it is that of the latency, in which no energy was measured.
    assert energy.predict(list(frame["arch"])[:2], "H100", 8).zero_shot
    # Meters could not follow the short passes of two GPUs, so nothing was learned of these.
    for scale in ("gpt:s", "gpt:m"):
        shipped = load_shipped(nasplug.space(scale), "energy")
        archs = list(gpt_table(scale.partition(":")[2]).to_frame()["arch"][:2])
        for way, gpu in (("eager fp16", "V100"), ("eager bf16", "A100 40GB")):
            assert shipped.in_way(known_way(way)).predict(archs, gpu, 8).zero_shot


def test_a_sampler_keeps_a_limit_on_energy():
    space = nasplug.space("gpt:s,length=256")
    energy = load_shipped(space, "energy")
    sampler = nasplug.PredictorSampler(
        space,
        "A40",
        ["energy<=0.5J"],
        objectives=["more params"],
        predictors={"energy": energy},
        seed=0,
        pool_size=60,
    )
    trial = optuna.create_study(direction="maximize", sampler=sampler).ask(space.distributions())
    proposed = energy.predict([space.from_params(trial.params)], "A40", 1)
    assert proposed.probability_at_most(0.5, "energy")[0] >= 0.9


def test_a_prediction_of_a_network_has_its_energy():
    space = nasplug.space("macro")
    network = space.to_network(space.parse("22222222"))
    latency = nasplug.predict(network, hardware="RTX 3090", batch_size=8)
    joules = latency.to_json()["energy_j"]
    assert 0 < joules["lower"] < joules["mean"] < joules["upper"]
    assert joules["evidence"] == "zero-shot"
    assert latency.table()[0]["energy J"].startswith(f"{joules['mean']:.3g} (")
    assert "energy is zero-shot: the latency times a share of the 350 W" in latency.notes()[-1]
    assert nasplug.predict(network, hardware="Pixel 6").to_json()["energy_j"] is None
