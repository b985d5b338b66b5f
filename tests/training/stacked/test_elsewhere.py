"""A stack takes all that it needs to another device and back: the tests of equality pass where nothing mixes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

EQUALITY = Path(__file__).with_name("test_stacked_equals_ordinary.py")


def test_tensors_elsewhere_mix_with_no_others(device: str) -> None:
    if device != "elsewhere":
        pytest.skip("asked for by the test below")
    far = torch.ones(3, device=device)
    assert (far.device.type, (2 * far + 1).tolist()) == ("elsewhere", [3.0, 3.0, 3.0])
    assert (far * torch.tensor(2.0)).cpu().numpy().tolist() == [2.0, 2.0, 2.0]
    far[1:] += 1
    assert far.tolist() == [1.0, 2.0, 2.0]
    for wrong in (
        lambda: far + torch.ones(3),
        lambda: torch.ones(3).mul_(far),
        lambda: torch.stack([far, far.cpu()]),
        lambda: torch.stack([far[0], torch.tensor(1.0)]),
        lambda: torch.ones(3)[far.long()],
        lambda: far.index_put_((torch.tensor([0, 1]),), torch.ones(2)),
        lambda: torch.rand(3, generator=torch.Generator(), device=device),
    ):
        with pytest.raises(RuntimeError, match="two devices|generator"):
            wrong()
    with pytest.raises(RuntimeError, match="numpy"):
        far.numpy()


MOST = "test_every_yaml or learning_rate"


@pytest.mark.parametrize("which", [f"not ({MOST})", pytest.param(MOST, marks=pytest.mark.slow)], ids=["few", "most"])
def test_stacks_equal_ordinary_runs_elsewhere(which: str) -> None:
    """In a process of its own, which has one device more for good."""
    if not hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip(f"torch {torch.__version__} takes no device written in Python")
    mixing = f"{__file__}::test_tensors_elsewhere_mix_with_no_others"
    command = [sys.executable, "-m", "pytest", str(EQUALITY), mixing, "--device=elsewhere", "-q", "-n0", "-k", which]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
