"""The LightningDataModule: a prepared dataset's splits as tensors, batched by permutation."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch

from lossbench.data.batches import Batches
from lossbench.data.dataset import Rows
from lossbench.training.job import Job


class DataModule(L.LightningDataModule):
    """Serve a job's training and validation splits from memory, on the trainer's device."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job = job
        self._train: Batches | None = None
        self._val: Batches | None = None

    def _tensors(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        assert self.trainer is not None
        device = self.trainer.strategy.root_device
        return torch.as_tensor(rows.x, dtype=self.job.dtype, device=device), torch.as_tensor(rows.y, device=device)

    def train_dataloader(self) -> Batches:
        job = self.job
        x, y = self._tensors(job.dataset.train)
        weight = job.dataset.train.weight
        self._train = Batches(
            x,
            y,
            job.dataset.batch_size,
            job.seed,
            sampler=job.dataset.sampler,
            stratified=job.batch_order == "stratified",
            weight=None if weight is None else torch.as_tensor(weight, dtype=job.dtype, device=x.device),
        )
        return self._train

    def val_batches(self) -> Batches:
        """Return the validation split; the learner walks through it at the end of every epoch.

        It has no order and no gradient, so its batches are large; a loss of a whole batch may need memory for every
        pair of rows, and gets smaller ones.
        """
        if self._val is None:
            rows = 65_536 if self.job.objective.loss.pointwise else 4_096
            self._val = Batches(*self._tensors(self.job.dataset.val), rows, self.job.seed, shuffle=False)
        return self._val

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        # The tensors are on the device already.
        return batch

    def set_epoch(self, epoch: int) -> None:
        """Tell the training batches which epoch's order comes next; Lightning does so for samplers alone."""
        assert self.trainer is not None
        if self._train is not None:
            # overfit_batches means the same batches again and again: those of the first epoch.
            self._train.set_epoch(0 if self.trainer.overfit_batches else epoch)  # type: ignore[attr-defined]
