"""What Lightning, per-epoch metrics and the selection of an epoch cost beside the tutorials' plain loops.

    .venv/bin/python scripts/bench/overhead.py [--runs 7]

Both sides train the same network on the same rows, in turn in one process, after imports: training and validation
without recording. Prints medians and the ratio pair by pair; machines are noisy, so quote the ratio.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lossbench.config.compose import compose
from lossbench.runs.prepare import prepare_job
from lossbench.training.job import Job
from lossbench.training.lightning.trainer import fit
from lossbench.training.settings import TrainerSettings

IRIS = ["experiment=iris_cross_entropy"]
RINGS = ["data=rings", "data.val=0.3", "data.batch_size=100", "model.widths=[4,8]", "loss=bce", "optimizer.lr=0.01"]


def tensors(job: Job) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    train, val = job.dataset.train, job.dataset.val
    return (
        torch.as_tensor(train.x, dtype=torch.float32),
        torch.as_tensor(train.y),
        torch.as_tensor(val.x, dtype=torch.float32),
        torch.as_tensor(val.y),
    )


def plain_iris(job: Job) -> None:
    """The first tutorial's loop: full batch, loss and accuracy of both splits kept every epoch."""
    x, y, x_val, y_val = tensors(job)
    model = nn.Sequential(nn.Linear(4, 50), nn.ReLU(), nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses, accuracies = [], []
    for _ in range(job.epochs):
        loss = functional.cross_entropy(model(x), y)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            correct = model(x_val).argmax(dim=1) == y_val
            accuracies.append(correct.float().mean().item())


def plain_rings(job: Job, widths: tuple[int, ...] = (4, 8)) -> None:
    """The second tutorial's loop: a DataLoader without workers, batches of 100, sigmoid and BCE."""
    x, y, x_val, y_val = tensors(job)
    loader = DataLoader(TensorDataset(x, y.float()), batch_size=100, shuffle=True)
    held_out = DataLoader(TensorDataset(x_val, y_val.float()), batch_size=100)
    model = nn.Sequential(*layers(widths), nn.Sigmoid())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    history = []
    for _ in range(job.epochs):
        model.train()
        for batch, target in loader:
            optimizer.zero_grad()
            loss = functional.binary_cross_entropy(model(batch).squeeze(1), target)
            loss.backward()
            optimizer.step()
            history.append(loss.item())
        model.eval()
        with torch.no_grad():
            for batch, target in held_out:
                history.append(((model(batch).squeeze(1) > 0.5) == (target > 0.5)).float().mean().item())


def eager_rings(job: Job, widths: tuple[int, ...] = (4, 8)) -> None:
    """The best loop of its kind: tensors indexed by a permutation, a fused optimizer."""
    x, y, x_val, y_val = tensors(job)
    target = y.float()
    model = nn.Sequential(*layers(widths))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, fused=True)
    history = []
    for _ in range(job.epochs):
        for rows in torch.randperm(len(y)).split(100):
            optimizer.zero_grad()
            functional.binary_cross_entropy_with_logits(model(x[rows]).squeeze(1), target[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            history.append(((model(x_val).squeeze(1) > 0) == (y_val > 0)).float().mean().item())


def layers(widths: tuple[int, ...]) -> list[nn.Module]:
    sizes = [2, *widths]
    hidden = [layer for pair in pairwise(sizes) for layer in (nn.Linear(*pair), nn.ReLU())]
    return [*hidden, nn.Linear(sizes[-1], 1)]


def seconds(action: Callable[[], object]) -> float:
    start = time.process_time()
    action()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    torch.set_num_threads(1)
    for name, overrides, plain, limit in (
        ("iris, 100 epochs, full batch", IRIS, plain_iris, 4.0),
        ("rings, 20 epochs, batches of 100", RINGS, plain_rings, 1.5),
    ):
        config = compose(overrides)
        ours: list[float] = []
        theirs: list[float] = []
        for run in range(runs + 1):
            job = prepare_job(config)
            pair = seconds(lambda: plain(job)), seconds(lambda: fit(job, TrainerSettings.read(config["trainer"])))  # noqa: B023 (called before the loop goes on)
            if run:  # the first pair warms up
                theirs.append(pair[0])
                ours.append(pair[1])
        ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
        print(
            f"{name}: plain loop {statistics.median(theirs) * 1e3:.0f} ms, lossbench "
            f"{statistics.median(ours) * 1e3:.0f} ms, ratio {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f}); the bound is {limit}"
        )


if __name__ == "__main__":
    main()
