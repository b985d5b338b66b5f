"""The default network with cross-entropy beside scikit-learn's logistic regression, in log-loss on the same test rows.

    .venv/bin/python scripts/bench/baseline.py [--seeds 5] [--markdown]

Both learn from the same scaled features. The network is the default run (`lossbench data=...`, mlp, cross_entropy,
adam) with one documented setting: experiment=early_stopping, which selects and stops by the log-loss on validation.
Logistic regression has scikit-learn's defaults and learns from training and validation rows, which it does not need
apart. Prints mean test log-loss over the seeds, and the paired difference with its standard error.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from lossbench.experiment import compose, draw, evaluate_fast, fit, prepare

DATA = ("iris", "wine", "breast_cancer", "digits", "digits_ovr")


def network(data: str, seed: int) -> tuple[float, float]:
    """Return the test log-loss of the network and of logistic regression."""
    config = compose([f"data={data}", f"seed={seed}", "experiment=early_stopping"])
    dataset = draw(config)
    job = prepare(config, dataset)
    fit(job, config, "none")
    ours = evaluate_fast(job, config).metrics["test/log_loss"]
    x, y = (np.concatenate([getattr(dataset.train, part), getattr(dataset.val, part)]) for part in ("x", "y"))
    logistic = LogisticRegression(max_iter=10_000).fit(x, y)
    assert dataset.test is not None
    return ours, log_loss(dataset.test.y, logistic.predict_proba(dataset.test.x), labels=logistic.classes_)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", nargs="*", default=DATA)
    parser.add_argument("--markdown", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.markdown:
        print("| data | mlp, cross_entropy | logistic regression | difference | ± s.e. |\n|---|---|---|---|---|")
    for data in given.data:
        pairs = np.array([network(data, seed) for seed in range(given.seeds)])
        ours, theirs = pairs.mean(axis=0)
        apart = pairs[:, 0] - pairs[:, 1]
        error = apart.std(ddof=1) / np.sqrt(len(apart))
        line = (data, f"{ours:.4f}", f"{theirs:.4f}", f"{apart.mean():+.4f}", f"{error:.4f}")
        print(
            "| " + " | ".join(line) + " |" if given.markdown else "  ".join(f"{cell:>14}" for cell in line), flush=True
        )


if __name__ == "__main__":
    main()
