import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nasplug import InputError, PredictorSampler, create_predictor, load_predictor, space
from nasplug.datasets import NB201_DEVICES
from nasplug.predicting import zoo
from nasplug.predicting.zoo import names
from nasplug.predictors.capabilities import Explains, reads_networks
from nasplug.predictors.checkpoint import load_checkpoint, save_checkpoint

NB = space("nb201")
ARCHS = [NB[k] for k in range(0, 15_625, 700)]  # type: ignore[index]


def test_what_the_package_has():
    assert names() == [
        "accel-accuracy",
        "gpt-perplexity",
        "macro-accuracy",
        "nb101-accuracy",
        "nb201-accuracy",
        "nb201-latency",
        "network-energy",
        "network-latency",
    ]
    accuracy, latency = (load_predictor(f"nb201-{kind}") for kind in ("accuracy", "latency"))
    assert accuracy.targets == ("cifar10", "cifar100", "imagenet16-120")
    assert latency.targets == ("latency",)
    for predictor in (accuracy, latency):
        assert len(predictor.sha256) == 64
        assert predictor.space is NB
        assert predictor.card["training"]["cells"] == 7_812
        assert all(
            len(h) == 64 for f in predictor.card["provenance"]["data"].values() for h in f.values()
        )
    # every device of the benchmark, GPUs at three batch sizes
    assert set(latency.model.devices) == {f"{n}@{b}" for n, b in NB201_DEVICES.values()}


@pytest.mark.parametrize("name", names())
def test_a_card_tells_which_predictor_reads_networks(name: str) -> None:
    predictor = load_predictor(name)
    reads = reads_networks(predictor.model)
    assert predictor._is_of_networks == reads
    assert isinstance(predictor.model, Explains) == (reads and predictor.kind == "latency")
    if reads:
        assert predictor.with_runtime("eager").for_space(space("nnlqp:alexnet")).model is (
            predictor.model
        )


def test_texts_architectures_and_graphs_are_the_same():
    predictor = load_predictor("nb201-latency")
    forms = [[a.text for a in ARCHS], ARCHS, [NB.to_graph(a) for a in ARCHS]]
    first, *others = (predictor.predict(form, "RTX 3090").mean for form in forms)
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_zero_shot_is_wider():
    predictor = load_predictor("nb201-latency")
    known = predictor.predict(ARCHS, "Titan RTX")
    unknown = predictor.predict(ARCHS, "RTX 3090")
    assert not known.zero_shot
    assert unknown.zero_shot
    assert ((unknown.upper / unknown.lower) > 1.2 * (known.upper / known.lower)).all()
    assert predictor.predict(ARCHS, "Titan RTX", batch_size=64).zero_shot


def test_a_larger_batch_takes_longer_on_a_gpu_that_was_never_measured():
    predictor = load_predictor("nb201-latency")
    times = [predictor.predict(ARCHS, "RTX 3090", b).mean for b in (1, 256)]
    assert np.median(times[1] / times[0]) > 1.5


def test_accuracy_of_the_benchmarks_extremes():
    best, dead = NB[6111], NB.parse("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")  # type: ignore[index]
    said = load_predictor("nb201-accuracy").predict([best, dead])
    assert said.lower[0, 0] <= 94.37 <= said.upper[0, 0]
    assert said.mean[1].tolist() == pytest.approx([10.0, 1.0, 0.83], abs=1.5)


def test_backends_of_the_zoo_agree():
    pytest.importorskip("dgl")
    for name, device in (("nb201-accuracy", None), ("nb201-latency", "T4")):
        one, two = (
            load_predictor(name, backend=b).predict(ARCHS, device) for b in ("torch", "dgl")
        )
        np.testing.assert_allclose(one.mean, two.mean, rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nb201-acuracy", "unknown predictor 'nb201-acuracy'; known: nb201-accuracy"),
        ("./nowhere", "cannot read nowhere.safetensors"),
    ],
)
def test_unknown_predictors_are_named(name, words):
    with pytest.raises(InputError, match=words):
        load_predictor(name)


def test_foreign_cards_are_refused(tmp_path):
    load_predictor("nb201-accuracy").save(tmp_path / "mine")
    file = tmp_path / "mine.safetensors"
    own = load_checkpoint(file)
    card = own.card
    encoder = card["encoder"]
    wide = {**encoder, "model": {**encoder["model"], "dim": 32}}
    for change, words in (
        ({"predictor": "energy"}, "holds a predictor of kind 'energy', which"),
        ({"space": None}, "does not say which search space"),
        ({"space": "nb999"}, "unknown search space 'nb999'"),
        ({"config": {"targets": 3}}, "does not describe a transformer-gp"),
        ({"vocabulary": ["a"]}, "the stored graphs are damaged"),
        ({"encoder": wide}, "do not fit the model of the card"),
    ):
        save_checkpoint(file, own.tensors, card | change)
        with pytest.raises(InputError, match=words):
            load_predictor(file)


def test_an_earlier_pair_becomes_one_file_and_is_found_by_each_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_pair: Callable[[Path], Path]
) -> None:
    monkeypatch.chdir(tmp_path)
    first = load_predictor("nb201-latency")
    first.save("mine")
    pair = as_pair(tmp_path / "mine.safetensors")
    with pytest.warns(UserWarning, match="without a checksum"):
        again = load_predictor(pair)
    again.save(pair)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.safetensors"]
    for name in ("mine", "./mine", "mine.json", "mine.safetensors", tmp_path / "mine"):
        found = load_predictor(name)
        assert found.name == "mine"
        # Studies know a predictor by this.
        assert found.sha256 == first.sha256
        for told in ("description", "training", "provenance"):
            assert found.card[told] == first.card[told]
    with pytest.raises(InputError, match="unknown predictor 'yours'"):
        load_predictor("yours")


def test_a_space_without_predictors_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(zoo, "names", lambda: [])
    advice = "; train one on your measurements with nasplug train, and give its checkpoint"
    for has_latency, quantity in ((False, "accuracy"), (True, "accuracy or latency")):
        sentence = f"the package has no predictor of {quantity} for space nb201{advice}"
        with pytest.raises(InputError, match=sentence):
            zoo.predictors_for(NB, has_latency, ())
    with pytest.raises(InputError, match="has no predictor of latency for space nb201; train"):
        _ = PredictorSampler("nb201", "T4", objectives=("flops", "latency")).candidates


def test_a_predictor_of_ones_own(tmp_path: Path, nb201_cache: Path):
    from nasplug import datasets

    rng = np.random.default_rng(0)
    archs = [NB.sample(rng) for _ in range(120)]
    table = datasets.load("nb201-accuracy")["cifar10_val"]
    accuracy = np.array([table[NB.index(a)] for a in archs])  # type: ignore[attr-defined]
    predictor = create_predictor("accuracy", "nb201", targets=("cifar10",))
    assert predictor.model.encoder is not None
    with pytest.raises(InputError, match="is not fitted"):
        predictor.predict(archs)
    predictor.fit(archs, accuracy)
    assert predictor.sha256 is None
    predictor.save(tmp_path / "mine", description="120 cells")
    again = load_predictor(tmp_path / "mine.safetensors")
    assert again.card["description"] == "120 cells"
    np.testing.assert_array_equal(again.predict(ARCHS).mean, predictor.predict(ARCHS).mean)


def test_predicting_loads_neither_the_training_loop_nor_dgl():
    script = (
        "import sys, nasplug; arch = nasplug.space('nb201')[6111];"
        "nasplug.load_predictor('nb201-accuracy').predict([arch]);"
        "nasplug.load_predictor('nb201-latency').predict([arch], 'T4');"
        "print([m for m in ('lightning', 'dgl', 'sklearn', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_bad_requests_for_a_new_predictor():
    with pytest.raises(InputError, match="unknown kind of predictor 'energy'"):
        create_predictor("energy", "nb201")
    with pytest.raises(InputError, match="unknown option 'size'; known: units, kernel"):
        create_predictor("accuracy", "nb201", size=3)
    with pytest.raises(InputError, match="size.*LatencyConfig"):
        create_predictor("latency", "nb201", size=3)
