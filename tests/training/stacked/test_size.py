"""How many replicates a stack holds."""

import pytest
import torch

from lossbench.config.compose import compose
from lossbench.runs.prepare import prepare_job
from lossbench.training.stacked import size


def test_a_step_counts_parameters_four_times_and_outputs_twice() -> None:
    job = prepare_job(compose(["data=iris", "model.widths=[5]", "data.batch_size=10"]))
    # Linear 4-5 and ReLU, Linear 5-3; float32
    assert size.bytes_of_step(job) == 4 * (4 * (25 + 18) + 2 * 10 * (4 + 5 + 5 + 3))
    rows = 2 * len(job.dataset.train) + len(job.dataset.val)
    assert size.bytes_of_rows(job) == rows * (4 * 4 + 8)
    assert job.network.training


def test_fewer_replicates_of_larger_networks_and_of_larger_tables() -> None:
    def fits(*overrides: str) -> int:
        return size.replicates(prepare_job(compose(["data.test_rows=20", *overrides])), "cpu")

    small, large = fits("model.widths=[4,8]"), fits("model.widths=[64,64]")
    assert small > 100 > large >= 16
    assert fits("model.widths=[64,64]", "trainer.precision=64-true") < large
    assert fits("data.negatives=6000000", "model.widths=[4,8]") < 10


def test_fewer_are_validated_together_where_they_become_more_numbers() -> None:
    def together(*overrides: str) -> int:
        return size.validated_together(prepare_job(compose(["data.test_rows=20", *overrides])))

    small = together("model.widths=[4,8]")
    assert small > 16 > together("model.widths=[64,64]") >= 1
    assert together("model.widths=[4,8]", "trainer.precision=64-true") == small // 2
    assert together("data.negatives=6000000", "model.widths=[4,8]") == 1


def test_processes_share_a_gpus_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    job = prepare_job(compose(["data.test_rows=20"]))
    step = size.bytes_of_step(job)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2 * 48 * step, 0))
    assert [size.replicates(job, "cuda", processes) for processes in (1, 4, 100)] == [48, 12, 1]


def test_counting_leaves_the_random_state_and_statistics_alone() -> None:
    job = prepare_job(compose(["data.test_rows=20", "model.normalization=batch"]))
    before = {name: tensor.clone() for name, tensor in job.network.state_dict().items()}
    state = torch.get_rng_state()
    size.replicates(job, "cpu")
    assert torch.equal(state, torch.get_rng_state())
    for name, tensor in job.network.state_dict().items():
        assert torch.equal(tensor, before[name])
