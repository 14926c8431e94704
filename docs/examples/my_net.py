"""my_net.py: networks for handwritten digits by a trial's suggestions, and their training."""

import json
import sys

import optuna
import torch
from sklearn.datasets import load_digits
from torch import nn


class Block(nn.Module):
    def __init__(self, width, kernel):
        super().__init__()
        self.conv = nn.Conv2d(width, width, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x):
        return x + torch.relu(self.norm(self.conv(x)))


def build(trial):
    width = trial.suggest_int("width", 8, 48, step=8)
    blocks = []
    for i in range(trial.suggest_int("depth", 1, 4)):
        blocks.append(Block(width, trial.suggest_categorical(f"kernel{i}", (3, 5))))
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, 10),
    )


def train(model, lr, steps=40):
    """Train on 1,400 digits, and return the accuracy on the other 397, in percent."""
    pixels, digits = load_digits(return_X_y=True)
    images = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    labels = torch.tensor(digits)
    optimizer = torch.optim.Adam(model.parameters(), lr)
    for _ in range(steps):
        rows = torch.randint(1400, (64,))
        loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = model(images[1400:]).argmax(1) == labels[1400:]
    return 100 * right.float().mean().item()


if __name__ == "__main__":
    params = json.loads(sys.argv[1])
    accuracy = train(build(optuna.trial.FixedTrial(params)), lr=0.01)
    print(json.dumps({"accuracy": accuracy}))
