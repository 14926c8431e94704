"""my_space.py: three stages, each of a convolution of 1×1 or 3×3 pixels or of nothing."""

import numpy as np
from optuna.distributions import CategoricalDistribution

from nasplug.search_spaces import ATTRIBUTES, Architecture, Graph, InputError, SearchSpace

CHOICES = ("skip", "conv1x1", "conv3x3")
STAGES = ("stage1", "stage2", "stage3")
FLOPS = {"skip": 0.0, "conv1x1": 1e6, "conv3x3": 9e6}


class MySpace(SearchSpace):
    name = "my-space"
    tasks = ("cifar10",)

    def distributions(self):
        return {stage: CategoricalDistribution(CHOICES) for stage in STAGES}

    def from_params(self, params):
        if missing := [stage for stage in STAGES if stage not in params]:
            raise InputError(f"parameter {missing[0]!r} is missing")
        return self.parse("|".join(str(params[stage]) for stage in STAGES))

    def to_params(self, arch):
        self.validate(arch)
        return dict(zip(STAGES, arch.key, strict=True))

    def sample(self, rng):
        return self.parse("|".join(rng.choice(CHOICES, len(STAGES))))

    def mutate(self, arch, rng):
        neighbors = self.neighbors(arch)
        return neighbors[int(rng.integers(len(neighbors)))]

    def neighbors(self, arch):
        params = self.to_params(arch)
        others = [(s, c) for s in STAGES for c in CHOICES if c != params[s]]
        return [self.from_params({**params, stage: choice}) for stage, choice in others]

    def validate(self, arch):
        if arch.space != self.name or self.parse(arch.text) != arch:
            raise InputError(f"{arch.text!r} is not an architecture of {self.name}")

    def parse(self, text):
        words = tuple(text.split("|"))
        if len(words) != len(STAGES) or not set(words) <= set(CHOICES):
            raise InputError(f"{text[:50]!r} is not {len(STAGES)} of {', '.join(CHOICES)} with |")
        return Architecture(self.name, text, arch_id=text, key=words)

    def to_graph(self, arch, task=None):
        self.validate(arch)
        if task not in (None, *self.tasks):
            raise InputError(f"unknown image set {task!r}; {self.name} has {', '.join(self.tasks)}")
        ops = ("input", *arch.key, "output")
        attributes = np.zeros((len(ops), len(ATTRIBUTES)))
        attributes[:, ATTRIBUTES.index("flops")] = [FLOPS.get(op, 0.0) for op in ops]
        return Graph(ops, tuple((k, k + 1) for k in range(len(ops) - 1)), attributes)
