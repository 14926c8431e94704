# %% [markdown]
# # A device-aware Optuna study
#
# We look for a network that is accurate on our data and fast on a Raspberry Pi 4, which is not at hand. The accuracy of
# each trial comes from a real training run. The latency comes from a predictor of nasplug.
#
# Everything here runs on a CPU within a minute, and needs no download. This page is a notebook,
# [device_study.py](device_study.py). To open it in Jupyter:
#
# ```
# pip install 'nasplug[plots]' jupyterlab jupytext
# jupytext --to ipynb device_study.py
# jupyter lab device_study.ipynb
# ```

# %%
import io

import numpy as np
import optuna
import torch
from IPython.display import Image
from torch import nn

import nasplug

optuna.logging.set_verbosity(optuna.logging.WARNING)
torch.set_num_threads(1)
DEVICE = "Raspberry Pi 4"

# %% [markdown]
# ## The data
#
# Small images of stripes in eight directions, with noise. Put your own data in their place.

# %%
CLASSES = 8


def stripes(count, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    angle = labels * torch.pi / CLASSES
    phase = 2 * torch.pi * torch.rand(count, generator=generator)
    x, y = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    wave = angle.cos()[:, None, None] * x + angle.sin()[:, None, None] * y
    images = torch.sin(wave + phase[:, None, None])
    return (images + 1.5 * torch.randn(images.shape, generator=generator))[:, None], labels


images, labels = stripes(1024, seed=0)
test_images, test_labels = stripes(512, seed=1)

# %% [markdown]
# ## The networks
#
# The search space is NAS-Bench-201: cells of four nodes, with one of five operations on each of six edges. A cell is a
# text such as `|none~0|+|none~0|skip_connect~1|+|…|`: nodes are separated by `+`, and `operation~source` is an edge.
# This class makes a PyTorch module of it.

# %%
WIDTH = 8


def convolution(size):
    layers = [nn.Conv2d(WIDTH, WIDTH, size, padding=size // 2), nn.BatchNorm2d(WIDTH)]
    return nn.Sequential(nn.ReLU(), *layers)


OPERATIONS = {
    "nor_conv_3x3": lambda: convolution(3),
    "nor_conv_1x1": lambda: convolution(1),
    "avg_pool_3x3": lambda: nn.AvgPool2d(3, 1, 1),
    "skip_connect": nn.Identity,
}


class Cell(nn.Module):
    def __init__(self, arch):
        super().__init__()
        self.nodes, self.operations = [], nn.ModuleList()
        for node in str(arch).split("+"):
            edges = [edge.split("~") for edge in node.strip("|").split("|")]
            edges = [(name, int(source)) for name, source in edges if name != "none"]
            first = len(self.operations)
            self.nodes.append([(first + k, source) for k, (_, source) in enumerate(edges)])
            self.operations.extend(OPERATIONS[name]() for name, _ in edges)

    def forward(self, x):
        values = [x]
        for edges in self.nodes:
            parts = [self.operations[k](values[source]) for k, source in edges]
            values.append(sum(parts, torch.zeros_like(x)))
        return values[-1]


def network(arch):
    stem = [nn.Conv2d(1, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH)]
    head = [nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, CLASSES)]
    return nn.Sequential(*stem, Cell(arch), nn.MaxPool2d(2), Cell(arch), *head)


def accuracy_of(arch):
    torch.manual_seed(0)
    model = network(arch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    for _ in range(3):
        for rows in torch.randperm(len(images)).split(64):
            loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        return 100 * (model(test_images).argmax(1) == test_labels).float().mean().item()


# %% [markdown]
# ## The objective
#
# A trial suggests the parameters of the space. `from_params` makes the architecture of them. The objective returns two
# values: the accuracy of the training run, and the predicted latency on the device.

# %%
space = nasplug.space("nb201")
latency = nasplug.load_predictor("nb201-latency")


def evaluate(trial):
    params = {
        name: trial.suggest_categorical(name, distribution.choices)
        for name, distribution in space.distributions().items()
    }
    arch = space.from_params(params)
    trial.set_user_attr("arch", str(arch))
    return accuracy_of(arch), latency.predict([arch], DEVICE).mean[0, 0]


# %% [markdown]
# ## The study
#
# The sampler predicts the latency of every cell. It proposes only cells that meet the limit with a probability of 0.9,
# and no cell twice. From the trials it learns which cells are accurate.

# %%
LIMIT = "latency<=60ms"
TRIALS = 16


def study_with(sampler):
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    study.optimize(evaluate, n_trials=TRIALS)
    return study


ours = study_with(nasplug.PredictorSampler(space, hardware=DEVICE, constraints=LIMIT, seed=0))

# %% [markdown]
# The trials that no other beats in both values:

# %%
for trial in sorted(ours.best_trials, key=lambda t: t.values[1]):
    print(f"{trial.values[0]:5.1f} %  {trial.values[1]:6.1f} ms  {trial.user_attrs['arch']}")

# %% [markdown]
# ## Against another sampler
#
# Optuna's TPE with as many trials. The curve shows the *hypervolume*, one number for how far the front has come. One
# run of sixteen trials proves nothing. It shows how to compare; the results have many seeds.

# %%
tpe = study_with(optuna.samplers.TPESampler(seed=0))
figure = nasplug.plots.hypervolume({"nasplug": ours, "TPE": tpe}, reference=[0.0, 200.0])
picture = io.BytesIO()
figure.savefig(picture, dpi=80)
Image(picture.getvalue())

# %% [markdown]
# How many trials each spent beyond the limit:

# %%
for name, study in {"nasplug": ours, "TPE": tpe}.items():
    over = sum(trial.values[1] > 60 for trial in study.trials)
    print(f"{name}: {over} of {TRIALS} trials over 60 ms")

# %% [markdown]
# ## What the latency rests on
#
# A prediction has an interval, and says whether the device was measured.

# %%
best = max(ours.best_trials, key=lambda t: t.values[0])
prediction = latency.predict([best.user_attrs["arch"]], DEVICE)
lower, mean, upper = np.ravel([prediction.lower, prediction.mean, prediction.upper])
print(f"{mean:.1f} ms, between {lower:.1f} and {upper:.1f} with a probability of 0.9")
print("never measured" if prediction.zero_shot else "measured on this device")

# %% [markdown]
# **Next:** time the network on the device, and calibrate the predictor with ten such measurements (*My own device*), or
# let several machines work on one study (*A cluster*).
