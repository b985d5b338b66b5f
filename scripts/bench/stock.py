"""A run as Lightning's and MLflow's own examples have it: the stock template that sweeps are compared with.

A DataLoader of samples, torchmetrics classes, MLFlowLogger once an epoch, ModelCheckpoint, and a test at the end; the
network, the rows, the batches and the number of epochs are those of `lossbench data=rings`.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import MLFlowLogger
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    BinaryAccuracy,
    BinaryAUROC,
    BinaryAveragePrecision,
    BinaryCalibrationError,
    BinaryF1Score,
    BinaryMatthewsCorrCoef,
    BinaryPrecision,
    BinaryRecall,
)

from lossbench.data.dataset import Dataset, Rows

MONITORED = "val_BinaryAUROC"


class Stock(L.LightningModule):
    """The LightningModule of a tutorial."""

    def __init__(self, widths: tuple[int, int]) -> None:
        super().__init__()
        first, second = widths
        self.model = nn.Sequential(
            nn.Linear(2, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU(), nn.Linear(second, 1)
        )
        metrics = MetricCollection(
            [
                BinaryAccuracy(),
                BinaryAUROC(),
                BinaryAveragePrecision(),
                BinaryF1Score(),
                BinaryMatthewsCorrCoef(),
                BinaryCalibrationError(),
                BinaryPrecision(),
                BinaryRecall(),
            ]
        )
        self.val_metrics = metrics.clone(prefix="val_")
        self.test_metrics = metrics.clone(prefix="test_")

    def _loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        scores = self.model(batch[0]).squeeze(1)
        return functional.binary_cross_entropy_with_logits(scores, batch[1].float()), scores

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss, _ = self._loss(batch)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        loss, scores = self._loss(batch)
        self.val_metrics.update(scores.sigmoid(), batch[1])
        self.log("val_loss", loss)

    def on_validation_epoch_end(self) -> None:
        self.log_dict(self.val_metrics.compute())
        self.val_metrics.reset()

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.test_metrics.update(self._loss(batch)[1].sigmoid(), batch[1])

    def on_test_epoch_end(self) -> None:
        self.log_dict(self.test_metrics.compute())

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=0.01)


def _loader(rows: Rows | None, size: int, shuffle: bool) -> DataLoader[Any]:
    assert rows is not None
    data = TensorDataset(torch.as_tensor(rows.x, dtype=torch.float32), torch.as_tensor(rows.y))
    return DataLoader(data, batch_size=size, shuffle=shuffle)


def train(dataset: Dataset, seed: int, folder: Path, epochs: int = 20, widths: tuple[int, int] = (32, 32)) -> None:
    """Train, test and record one run in ``folder``."""
    L.seed_everything(seed, verbose=False)
    trainer = L.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=epochs,
        logger=MLFlowLogger("stock", tracking_uri=f"sqlite:///{folder / 'mlflow.db'}"),
        callbacks=[ModelCheckpoint(folder / "checkpoints" / str(seed), monitor=MONITORED, mode="max")],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = Stock(widths)
    trainer.fit(model, _loader(dataset.train, 100, True), _loader(dataset.val, 100, False))
    trainer.test(model, _loader(dataset.test, 100, False), ckpt_path="best", verbose=False, weights_only=True)


def quiet() -> None:
    """Keep Lightning's and MLflow's tips out of a benchmark."""
    warnings.simplefilter("ignore")
    for name in ("lightning.pytorch", "mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)


class Folder:
    """A temporary folder, as a context."""

    def __enter__(self) -> Path:
        self.path = Path(tempfile.mkdtemp())
        return self.path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path)
