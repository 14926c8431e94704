# %% [markdown]
# # A predictor of one's own, compared
#
# We write a predictor of accuracy in thirty lines, check that nasplug can use it, and compare it with others under equal
# conditions.
#
# Everything here runs on a CPU within a minute, and needs no download: the *measurements* are simulated from predictions
# of the package, with noise. **The figures below say nothing about real accuracies.** With the tables of NAS-Bench-201 one
# line changes, see the end. This page is a notebook, [own_predictor.py](own_predictor.py), which also runs as a program
# (`python own_predictor.py`). To open it in Jupyter:
#
# ```
# pip install 'nasplug[classical]' jupyterlab jupytext
# jupytext --to ipynb own_predictor.py
# jupyter lab own_predictor.ipynb
# ```

# %%
import numpy as np
from scipy.stats import kendalltau

import nasplug
import nasplug.testing
from nasplug.predictors import NotFittedError, Prediction
from nasplug.predictors.calibration import LEVELS, conformal_quantiles

# %% [markdown]
# ## The predictor
#
# A predictor is a class with `targets`, `fit` and `predict`. It reads graphs. Ours counts the operations of a graph and
# fits a ridge regression. A fifth of the graphs is kept out of the fit: their errors make the 90 % intervals.

# %%
OPERATIONS = ("nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3", "skip_connect", "none")


class Ridge:
    def __init__(self, kind="accuracy", targets=("accuracy",), strength=1.0):
        self.kind, self.targets, self.strength = kind, tuple(targets), strength
        self.weights = None

    def features(self, graphs):
        counts = [[1.0, *(graph.ops.count(name) for name in OPERATIONS)] for graph in graphs]
        return np.array(counts).reshape(len(graphs), 1 + len(OPERATIONS))

    def fit(self, graphs, targets, hardware=None):
        if len(graphs) < 10 or len(targets) != len(graphs):
            raise nasplug.InputError(f"give 10 graphs and a target of each, not {len(graphs)}")
        x, y = self.features(graphs), np.asarray(targets, dtype=float).reshape(len(graphs), -1)
        n = len(x) * 4 // 5
        gram = x[:n].T @ x[:n] + self.strength * np.eye(x.shape[1])
        self.weights = np.linalg.solve(gram, x[:n].T @ y[:n])
        errors = y[n:] - x[n:] @ self.weights
        self.residuals = np.stack([conformal_quantiles(e) for e in errors.T], axis=1)

    def predict(self, graphs, hardware=None, batch_size=1):
        if self.weights is None:
            raise NotFittedError("this predictor has learned nothing yet; call fit")
        center, columns = self.features(graphs) @ self.weights, len(self.targets)
        spread = np.ones_like(center)
        units, logarithms = ("%",) * columns, (False,) * columns
        return Prediction(self.targets, units, center, spread, LEVELS, self.residuals, logarithms)


# %% [markdown]
# ## The check
#
# `check_predictor` tries what a search relies on: shapes, finite numbers, intervals in order, errors for wrong input.
# If the predictor breaks a rule, the error says which one. Ours breaks none.

# %%
nasplug.testing.check_predictor(Ridge)

# %% [markdown]
# ## The protocol
#
# A predictor learns the measurements of *n* random cells, and ranks cells that it has not seen. Kendall's tau tells how
# well: 1 if the order is right, 0 if it is no better than chance. Each draw of cells is the same for all predictors.

# %%
space = nasplug.space("nb201")
rng = np.random.default_rng(0)
archs = [space[i] for i in rng.choice(len(space), 900, replace=False)]
graphs = [space.to_graph(arch) for arch in archs]
measured = nasplug.load_predictor("nb201-accuracy").predict(archs).mean[:, 0]
measured = measured + rng.normal(0, 0.2, len(archs))

# %% [markdown]
# The forest and the Gaussian process over paths need scikit-learn. nasplug's own predictor is used without its pretrained
# encoder here; `nasplug.create_predictor` gives it one.

# %%
MAKE = {
    "ours": Ridge,
    "random forest": lambda: nasplug.predictors.create("random-forest", seed=0),
    "Gaussian process over paths": lambda: nasplug.predictors.create("path-gp", seed=0),
    "nasplug, no pretraining": lambda: nasplug.predictors.create("nasplug", seed=0),
}
SIZES, DRAWS = (50, 150), 2
unseen = graphs[400:]
truth = measured[400:]

print(f"{'':30}" + "".join(f"{n:>6} cells" for n in SIZES) + "  90 % intervals cover")
for name, make in MAKE.items():
    taus, covered = [], []
    for n in SIZES:
        scores = []
        for draw in range(DRAWS):
            rows = np.random.default_rng(draw).choice(400, n, replace=False)
            model = make()
            model.fit([graphs[i] for i in rows], measured[rows][:, None])
            prediction = model.predict(unseen)
            scores.append(kendalltau(prediction.mean[:, 0], truth).statistic)
            inside = (prediction.lower[:, 0] <= truth) & (truth <= prediction.upper[:, 0])
            covered.append(inside.mean())
        taus.append(np.mean(scores))
    print(f"{name:30}" + "".join(f"{tau:12.3f}" for tau in taus) + f"{np.mean(covered):14.0%}")

# %% [markdown]
# `nasplug.predictors.names()` lists all predictors that can be put into this table, the published ones too.

# %%
print(*nasplug.predictors.names(), sep=", ")

# %% [markdown]
# ## With real measurements
#
# `nasplug data fetch nb201-accuracy` downloads the table of NAS-Bench-201 once. Then
#
# ```
# measured = nasplug.datasets.load("nb201-accuracy")["cifar10_val"].to_numpy()
# ```
#
# has the validation accuracies of all 15,625 cells in the order of the space. The page *Predictors on few labels* has
# the results of this protocol for all predictors.
#
# ## Give it a name, keep it, and search with it
#
# With an entry point, `save` and `from_checkpoint` the predictor becomes one of the named ones, for
# `nasplug train --model mine` and `nasplug search --predictor mine.safetensors`. The page *Train and compare predictors*
# shows how.
