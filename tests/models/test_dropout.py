"""Dropout takes its mask from the caller, and from nobody else."""

from __future__ import annotations

import pytest
import torch

from lossbench import randomness
from lossbench.models.dropout import Dropout
from lossbench.models.mlp import Mlp
from lossbench.task import Task

TASK = Task(n_features=2, class_names=("negative", "positive"), class_counts=(30, 10))


def test_masks_come_in_layer_order_from_the_given_generator_alone() -> None:
    model = Mlp(TASK, widths=(40, 30), dropout=0.25)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = model.draw_masks(50, randomness.generator(0, "dropout", 2), torch.float64)
    torch.manual_seed(6)
    again = model.draw_masks(50, randomness.generator(0, "dropout", 2), torch.float64)
    assert [mask.shape for mask in first] == [(50, 40), (50, 30)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    by_hand = randomness.generator(0, "dropout", 2)
    for mask, width in zip(first, (40, 30), strict=True):
        kept = torch.rand(50, width, generator=by_hand) >= 0.25
        assert torch.equal(mask, kept.double() / 0.75)
    torch.manual_seed(5)
    model.draw_masks(50, randomness.generator(0, "dropout", 2), torch.float64)
    model(torch.zeros(50, 2), [mask.float() for mask in first])
    assert torch.equal(torch.get_rng_state(), before)


def test_float32_and_float64_drop_the_same_cells() -> None:
    dropout = Dropout(0.3, width=20)
    masks = [dropout.draw_mask(30, torch.Generator().manual_seed(1), d) for d in (torch.float32, torch.float64)]
    assert torch.equal(masks[0] == 0, masks[1] == 0)
    assert (masks[0].dtype, masks[1].dtype) == (torch.float32, torch.float64)


def test_the_share_and_the_mean() -> None:
    mask = Dropout(0.3, width=200).draw_mask(500, torch.Generator().manual_seed(0), torch.float64)
    # 100,000 cells: the share has standard error .0014
    assert abs((mask == 0).double().mean() - 0.3) < 0.006
    assert sorted(mask.unique().tolist()) == [0.0, 1 / 0.7]


def test_training_multiplies_and_evaluation_is_the_identity() -> None:
    dropout = Dropout(0.5, width=2)
    x, mask = torch.tensor([[3.0, 4.0]]), torch.tensor([[2.0, 0.0]])
    assert dropout(x, mask).tolist() == [[6.0, 0.0]]
    dropout.eval()
    assert dropout(x, mask).tolist() == dropout(x).tolist() == [[3.0, 4.0]]
    assert Dropout(0.0, width=2)(x).tolist() == [[3.0, 4.0]]


def test_a_network_with_masks_equals_the_hand_loop() -> None:
    model = Mlp(TASK, widths=(4, 3), dropout=0.5)
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    masks = model.draw_masks(6, torch.Generator().manual_seed(1), torch.float32)
    hidden = x
    for linear, mask in zip((model.body[0], model.body[3]), masks, strict=True):
        hidden = linear(hidden).relu() * mask
    assert torch.equal(model(x, masks), model.head(hidden))


def test_training_without_the_right_masks_is_an_error_that_says_so() -> None:
    model = Mlp(TASK, widths=(4, 3), dropout=0.5)
    x = torch.zeros(2, 2)
    masks = model.draw_masks(2, torch.Generator(), torch.float32)
    for absent in (None, []):
        with pytest.raises(ValueError, match=r"^Dropout needs a mask in training where p > 0 .*got p=0.5$"):
            model(x, absent)
    with pytest.raises(ValueError, match="a network needs one mask per dropout layer, 2, got 1 masks"):
        model(x, masks[:1])
    with pytest.raises(ValueError, match="a network needs one mask per dropout layer, 0, got 2 masks"):
        Mlp(TASK, widths=(4,))(x, masks)
    model.eval()
    assert torch.equal(model(x), model(x, masks[:1]))


@pytest.mark.parametrize("p", [-0.1, 1, 1.5, True, "0.5", float("nan")])
def test_p_out_of_range_is_refused(p: object) -> None:
    with pytest.raises(ValueError, match=r"^Dropout needs 0 <= p < 1, got p="):
        Dropout(p, width=3)


@pytest.mark.parametrize("width", [0, 2.0, True])
def test_width_out_of_range_is_refused(width: object) -> None:
    with pytest.raises(ValueError, match=r"^Dropout needs an integer width >= 1, got width="):
        Dropout(0.5, width=width)
