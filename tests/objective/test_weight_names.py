"""Weights are chosen by kind of module, and penalties on them spare biases and normalisation."""

from __future__ import annotations

import torch
from torch import nn

from lossbench.objective.regularizer import Step, weight_names
from lossbench.objective.regularizers.weights import L1, L2


class Misleading(nn.Module):
    """Names that say the opposite of what they are, and a shared matrix."""

    def __init__(self):
        super().__init__()
        self.bias_free = nn.Linear(3, 3, bias=False)
        self.weight_of_evidence = nn.BatchNorm1d(3)
        self.tied = nn.Linear(3, 3)
        self.tied.weight = self.bias_free.weight
        self.weight = nn.Parameter(torch.ones(3, 3))


def test_by_kind_and_never_by_name():
    assert weight_names(Misleading()) == ("bias_free.weight",)


def test_every_kind():
    network = nn.ModuleDict(
        {
            "linear": nn.Linear(2, 3),
            "bilinear": nn.Bilinear(2, 3, 4),
            "conv": nn.Conv2d(1, 2, 3),
            "transposed": nn.ConvTranspose1d(1, 2, 3),
            "embedding": nn.Embedding(5, 2),
            "bag": nn.EmbeddingBag(5, 2),
            "lstm": nn.LSTM(2, 3),
            "cell": nn.GRUCell(2, 3),
            "attention": nn.MultiheadAttention(4, 2, add_bias_kv=True),
            "norm": nn.GroupNorm(1, 2),
            "prelu": nn.PReLU(),
        }
    )
    assert weight_names(network) == (
        "linear.weight",
        "bilinear.weight",
        "conv.weight",
        "transposed.weight",
        "embedding.weight",
        "bag.weight",
        "lstm.weight_ih_l0",
        "lstm.weight_hh_l0",
        "cell.weight_ih",
        "cell.weight_hh",
        "attention.in_proj_weight",
        "attention.out_proj.weight",
    )


def penalty(regularizer, network):
    weights = {name: network.get_parameter(name) for name in weight_names(network)}
    return regularizer.penalty(Step(weights, None, None, None, None))


def test_l1_and_l2_ignore_biases_and_normalisation():
    network = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 1))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(100)
        network[0].weight.copy_(torch.tensor([[1.0, -2.0], [0.0, 3.0]]))
        network[2].weight.copy_(torch.tensor([[-4.0, 5.0]]))
    assert penalty(L1(0.5), network).item() == 7.5  # (1 + 2 + 3 + 4 + 5) / 2
    assert penalty(L2(0.5), network).item() == 13.75  # (1 + 4 + 9 + 16 + 25) / 4
    (penalty(L1(0.5), network) + penalty(L2(0.5), network)).backward()
    for name, parameter in network.named_parameters():
        assert (parameter.grad is not None) == (name in weight_names(network))


def test_l2_is_weight_decay_in_sgd_step_for_step():
    twins = [nn.Linear(3, 2, dtype=torch.float64) for _ in range(2)]
    twins[1].load_state_dict(twins[0].state_dict())
    inputs = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    by_decay = torch.optim.SGD(
        [{"params": [twins[0].weight], "weight_decay": 0.1}, {"params": [twins[0].bias]}],
        lr=0.1,
        momentum=0.9,
    )
    by_penalty = torch.optim.SGD(twins[1].parameters(), lr=0.1, momentum=0.9)
    for _ in range(10):
        for network, optimizer in zip(twins, (by_decay, by_penalty), strict=True):
            optimizer.zero_grad()
            value = network(inputs).square().mean()
            if network is twins[1]:
                value = value + penalty(L2(0.1), network)
            value.backward()
            optimizer.step()
    torch.testing.assert_close(twins[0].weight, twins[1].weight, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(twins[0].bias, twins[1].bias, rtol=1e-12, atol=1e-14)
