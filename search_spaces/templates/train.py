"""Train a network, and print its accuracy as a line of JSON.

    python train.py              trains the network of the file NETWORK
    python train.py FILE.py      trains that of another file

A search runs the program for each trial; it then needs nasplug to build other networks:

    nasplug search --space SPACE --evaluate command "python train.py {arch}"
"""

import json
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from nasplug.search_spaces.templates.layers import module_of

NETWORK = "network.py"
SPACE = "nb201"
IMAGE_SET = "cifar10"

EPOCHS = 3
BATCH_SIZE = 32
LEARNING_RATE = 0.05
SEED = 0
# Number of images of the example below.
IMAGES = 640
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def data(image: tuple[int, int, int]) -> tuple[TensorDataset, TensorDataset, int]:
    """Load images to train on, others to validate on, and the number of classes.

    Args:
        image: Channels, height and width of the images that the network reads.
    """
    # YOUR DATA: put your own data sets here, such as those of torchvision.datasets.
    # This example has handwritten digits, or noise where scikit-learn is not installed.
    channels, *size = image
    try:
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = torch.tensor(digits.images[:IMAGES, None], dtype=torch.float32) / 16
        labels = torch.tensor(digits.target[:IMAGES])
    except ImportError:
        images = torch.rand(IMAGES, 1, 8, 8)
        labels = torch.randint(10, (IMAGES,))
    images = nn.functional.interpolate(images, size=size).expand(-1, channels, -1, -1)
    # The last fifth validates.
    first = IMAGES * 4 // 5
    training = TensorDataset(images[:first], labels[:first])
    return training, TensorDataset(images[first:], labels[first:]), 10
    # END OF YOUR DATA


def train(network: nn.Module, images: TensorDataset) -> None:
    """Train a network by stochastic gradient descent."""
    steps = DataLoader(images, BATCH_SIZE, shuffle=True, drop_last=True)
    optimizer = torch.optim.SGD(
        network.parameters(),
        LEARNING_RATE,
        momentum=0.9,
        weight_decay=5e-4,
        nesterov=True,
    )
    total_steps = EPOCHS * len(steps)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total_steps)
    network.train()
    for epoch in range(EPOCHS):
        loss = torch.zeros(())
        for batch, labels in steps:
            scores = network(batch.to(DEVICE))
            loss = nn.functional.cross_entropy(scores, labels.to(DEVICE))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}", file=sys.stderr)


@torch.no_grad()
def accuracy(network: nn.Module, images: TensorDataset) -> float:
    """Share of images whose class is recognised, in percent."""
    network.eval()
    right = 0
    for batch, labels in DataLoader(images, BATCH_SIZE):
        best: Tensor = network(batch.to(DEVICE)).argmax(1).cpu()
        right += int((best == labels).sum())
    return 100 * right / len(images)


def main() -> None:
    """Train the network that the command line names, and print its accuracy."""
    torch.manual_seed(SEED)
    file = str(Path(__file__).parent / NETWORK)
    argument = sys.argv[1] if len(sys.argv) > 1 else file
    module = module_of(argument, SPACE, IMAGE_SET)
    training, validation, classes = data(module.IMAGE)
    network = module.Network(num_classes=classes).to(DEVICE)
    train(network, training)
    # A search reads the last line that is a JSON object.
    print(json.dumps({"accuracy": accuracy(network, validation)}))


if __name__ == "__main__":
    main()
