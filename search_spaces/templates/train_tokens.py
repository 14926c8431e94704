"""Train a language model, and print its perplexity as a line of JSON.

    python train.py              trains the network of the file NETWORK
    python train.py FILE.py      trains that of another file

A search runs the program for each trial; it then needs nasplug to build other networks:

    nasplug search --space SPACE --evaluate command "python train.py {arch}"
"""

import argparse
import json
import math
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from nasplug.search_spaces.templates.layers import module_of

NETWORK = "network.py"
SPACE = "gpt:s"
TASK = "prefill"

STEPS = 30
BATCH_SIZE = 4
# Tokens of a sequence, fewer where the network reads no more.
LENGTH = 128
LEARNING_RATE = 1e-3
SEED = 0
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def data() -> tuple[Tensor, Tensor, int]:
    """Load tokens to train on, others to validate on, and the number of words."""
    # YOUR DATA: put your own tokens here, such as those of a tokeniser, as whole numbers
    # below the number of words. This example has the bytes of a file of Python.
    text = Path(argparse.__file__).read_bytes()
    tokens = torch.tensor(list(text))
    # The last tenth validates.
    first = len(tokens) * 9 // 10
    return tokens[:first], tokens[first:], 256
    # END OF YOUR DATA


def loss_of(network: nn.Module, sequences: Tensor) -> Tensor:
    """Mean cross-entropy of each next token of sequences."""
    sequences = sequences.to(DEVICE)
    scores = network(sequences[:, :-1])
    return nn.functional.cross_entropy(scores.flatten(0, 1), sequences[:, 1:].flatten())


def train(network: nn.Module, tokens: Tensor, length: int) -> None:
    """Train a network on random sequences of the tokens by AdamW."""
    optimizer = torch.optim.AdamW(
        network.parameters(),
        LEARNING_RATE,
        betas=(0.9, 0.95),
        weight_decay=0.1,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    # Each sequence has one token more than the network reads: the last one's successor.
    sequences = tokens.unfold(0, length + 1, 1)
    network.train()
    for step in range(STEPS):
        loss = loss_of(network, sequences[torch.randint(len(sequences), (BATCH_SIZE,))])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % 10 == 0:
            print(f"step {step + 1}: loss {loss.item():.3f}", file=sys.stderr)


@torch.no_grad()
def perplexity(network: nn.Module, tokens: Tensor, length: int) -> float:
    """Compute e to the power of the mean loss of a token."""
    network.eval()
    losses = [
        loss_of(network, batch)
        # Batches of one size, so that each token counts the same.
        for batch in tokens.unfold(0, length + 1, length).split(1)
    ]
    return math.exp(torch.stack(losses).mean())


def main() -> None:
    """Train the network that the command line names, and print its perplexity."""
    torch.manual_seed(SEED)
    file = str(Path(__file__).parent / NETWORK)
    argument = sys.argv[1] if len(sys.argv) > 1 else file
    module = module_of(argument, SPACE, TASK)
    training, validation, words = data()
    network = module.Network(vocabulary=words).to(DEVICE)
    length = min(LENGTH, module.LENGTH)
    train(network, training, length)
    # A search reads the last line that is a JSON object.
    print(json.dumps({"perplexity": perplexity(network, validation, length)}))


if __name__ == "__main__":
    main()
