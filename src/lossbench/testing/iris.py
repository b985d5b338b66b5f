"""A sanity check of a loss: the accuracy of a small network that it trains on iris."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split

from lossbench.models.mlp import Mlp
from lossbench.objective.loss import Loss
from lossbench.objective.objective import Objective
from lossbench.objective.regularizer import Step
from lossbench.objective.weighting import NoWeighting
from lossbench.task import Task


def accuracy_on_iris(loss: Loss, seed: int) -> float:
    """Return the test accuracy of an MLP 4-16-3 after 400 full-batch epochs of Adam; the loss must not be bound yet."""
    x, y = load_iris(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(x, y, test_size=0.3, stratify=y, random_state=seed)
    middle, spread = train_x.mean(axis=0), train_x.std(axis=0)
    train, test = (torch.tensor((part - middle) / spread, dtype=torch.float32) for part in (train_x, test_x))
    target = torch.tensor(train_y)
    task = Task(4, ("setosa", "versicolor", "virginica"), tuple(np.bincount(train_y).tolist()))
    objective = Objective(loss, NoWeighting(), {}, task)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Mlp(task, widths=(16,))
        head = loss.head(task, network.n_features)
    if head is not None:
        network.head = head
    optimizer = torch.optim.Adam([*network.parameters(), *objective.parameters()], lr=0.01)
    for _ in range(400):
        optimizer.zero_grad()
        features = network.features(train)
        prediction = objective.predict(network.head(features), features)
        objective(Step({}, train, features, prediction, target))["objective"].backward()
        optimizer.step()
        objective.after_step({}, {})
    with torch.no_grad():
        return float((network(test).argmax(dim=1).numpy() == test_y).mean())
