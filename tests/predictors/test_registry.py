"""Predictors by name, and the documented plug-in as a package that is installed."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from nasplug import InputError, datasets, load_predictor, predictors, space
from nasplug.predictors import registry

PAGE = Path(__file__).parents[2] / "docs" / "training.md"
NB = space("nb201")
CELLS = np.random.default_rng(7).permutation(15_625)[:200]
ARCHS = [NB[int(i)] for i in CELLS]
GRAPHS = NB.to_graphs(ARCHS)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a module and its entry points where an installed package would have them."""
    modules = []

    def put(name, code, entries):
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[nasplug.predictors]\n{entries}\n")
        monkeypatch.syspath_prepend(tmp_path)
        modules.append(name)

    yield put
    for name in modules:
        sys.modules.pop(name, None)


def test_what_is_installed():
    own = {"nasplug", "nnformer", "narformer-v2", "nnlp", "ledgformer"}
    own |= {"random-forest", "gradient-boosting", "path-gp", "cell-gp"}
    assert own <= set(predictors.names())
    for name in own:
        made = predictors.create(name, targets=("cifar10", "cifar100"))
        assert isinstance(made, predictors.Predictor)
        assert made.targets == ("cifar10", "cifar100")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("nnformr", {}, "unknown predictor 'nnformr'; known: nnformer"),
        ("random-forest", {"tree": 3}, "'random-forest' has no option 'tree'; known: .*trees"),
        ("nnlp", {"epoch": 3}, "unknown option 'epoch'; known: "),
        ("nnlp", {"epochs": "many"}, "epochs is many; give a whole number from 0 to 1e10"),
    ],
)
def test_bad_requests(name, options, words):
    with pytest.raises(InputError, match=words):
        predictors.create(name, **options)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import nowhere", r"'bad' \(bad:made\) cannot be imported: ModuleNotFoundError: No mod"),
        ("1 / 0", "cannot be imported: ZeroDivisionError"),
        ("other = 1", "cannot be imported: AttributeError"),
        ("made = 3", "is a int; name a class or a function"),
        ("def made(): return {}", "returns a dict, which is not a Predictor"),
        ("def made(size): return {}", "cannot be made: missing a required argument: 'size'"),
    ],
)
def test_plugins_that_do_not_work(install, code, words):
    install("bad", code, "bad = bad:made")
    assert "bad" in predictors.names()
    with pytest.raises(InputError, match=words):
        predictors.create("bad")


def test_a_plugin_that_cannot_be_loaded(install):
    install("bad", "class Made: from_checkpoint = lambda *_: {}", "bad = bad:Made")
    checkpoint = type("Card", (), {"card": {"predictor": "bad"}})
    with pytest.raises(InputError, match="was loaded as a dict, which is not a Predictor"):
        registry.restore(checkpoint)
    checkpoint.card["predictor"] = "random-forest"
    with pytest.raises(InputError, match="'random-forest' cannot be loaded: it has no from_check"):
        registry.restore(checkpoint)


def test_the_documented_plugin(install, tmp_path, nb201_cache):
    page = PAGE.read_text(encoding="utf-8")
    section = page[page.index("## A predictor of your own") :]
    code = (PAGE.parent / "examples" / "my_predictor.py").read_text(encoding="utf-8")
    entry = re.search(r'entry-points\."nasplug.predictors"\]\n(.*?)```', section, re.DOTALL)[1]
    install("my_predictor", code, entry.replace('"', ""))
    accuracy = datasets.load("nb201-accuracy")["cifar10_val"].to_numpy()[CELLS]
    mine = predictors.create("mine", strength=0.1)
    mine.fit(GRAPHS[:100], accuracy[:100])
    said = mine.predict(GRAPHS[100:])
    assert np.corrcoef(said.mean[:, 0], accuracy[100:])[0, 1] > 0.4
    inside = (said.lower[:, 0] <= accuracy[100:]) & (accuracy[100:] <= said.upper[:, 0])
    assert inside.mean() > 0.7
    mine.save(tmp_path / "kept", {"space": "nb201"})
    again = load_predictor(tmp_path / "kept.json")
    np.testing.assert_array_equal(again.predict(ARCHS).mean, mine.predict(GRAPHS).mean)
