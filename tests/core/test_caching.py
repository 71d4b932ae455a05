"""Encoders in lots: what the second time sees, and what batch norm remembers."""

import pytest
import torch
from torch import nn


class Noisy(nn.Module):
    """An encoder that draws at random and counts its calls."""

    def __init__(self):
        super().__init__()
        self.linear, self.dropout, self.num_calls = nn.Linear(3, 4).double(), nn.Dropout(0.5), 0

    def forward(self, rows):
        self.num_calls += 1
        return self.dropout(self.linear(rows)).tanh()


def rows(number=7):
    return torch.randn(number, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("num_lots", [1, 2, 3, 7, 50])
def test_the_second_time_sees_the_random_state_of_the_first(num_lots):
    from mmil_cli.core.caching import encode_in_lots

    torch.manual_seed(0)
    encoder = Noisy()
    gradients = []
    for encode in (
        lambda rows: torch.cat([encoder(lot) for lot in rows.tensor_split(min(num_lots, 7))]),
        lambda rows: torch.cat(encode_in_lots(encoder, rows, num_lots=num_lots)),
    ):
        torch.manual_seed(5)
        encoder.zero_grad()
        found = encode(rows())
        torch.rand(9)  # the objective draws too
        (found @ found.T).logsumexp(dim=1).sum().backward()
        gradients.append((found.detach(), encoder.linear.weight.grad.clone()))
    assert (gradients[0][0] == gradients[1][0]).all()
    torch.testing.assert_close(gradients[1][1], gradients[0][1], rtol=1e-12, atol=1e-14)
    assert encoder.num_calls == 3 * min(num_lots, 7)


def test_the_random_state_afterwards_is_that_of_the_first_time():
    from mmil_cli.core.caching import encode_in_lots

    encoder = Noisy()
    torch.manual_seed(3)
    found = torch.cat(encode_in_lots(encoder, rows(), num_lots=3))
    drawn = torch.random.get_rng_state()
    found.sum().backward()
    assert (torch.random.get_rng_state() == drawn).all()


def test_only_one_lot_is_held_at_a_time():
    from mmil_cli.core.caching import encode_in_lots

    held = []

    class Kept(torch.autograd.Function):
        """Counts the lots whose inputs are saved for the backward pass."""

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            held.append(len(x))
            return 2 * grad

    alive = []

    def pack(tensor):
        alive.append(tensor.numel())
        return tensor

    weight = torch.ones(15, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        found = torch.cat(
            encode_in_lots(lambda rows: Kept.apply(rows.repeat(1, 5) * weight), rows(6), num_lots=3)
        )
    assert 30 not in alive  # of the first time the rows are kept, and nothing made of them
    found.sum().backward()
    assert held == [2, 2, 2]
    assert weight.grad is not None


@pytest.mark.parametrize("num_rows", [6, 7])
def test_running_statistics_move_once_by_the_mean_over_lots(num_rows):
    from mmil_cli.core.caching import encode_in_lots

    norm = nn.BatchNorm2d(2).double()
    films = torch.randn(num_rows, 2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    lots = films.tensor_split(3)
    before = norm.running_mean.clone(), norm.running_var.clone()
    torch.cat(encode_in_lots(norm, films, num_lots=3, module=norm)).square().sum().backward()
    shares = [len(lot) / num_rows for lot in lots]
    mean = sum(share * lot.mean(dim=(0, 2, 3)) for share, lot in zip(shares, lots, strict=True))
    var = sum(share * lot.var(dim=(0, 2, 3)) for share, lot in zip(shares, lots, strict=True))
    torch.testing.assert_close(norm.running_mean, 0.9 * before[0] + 0.1 * mean)
    torch.testing.assert_close(norm.running_var, 0.9 * before[1] + 0.1 * var)
    assert norm.momentum == 0.1


def test_a_fault_in_the_encoder_leaves_batch_norm_as_it_was():
    from mmil_cli.core.caching import encode_in_lots

    norm = nn.BatchNorm2d(2)
    with pytest.raises(ValueError, match="expected 4D input"):
        encode_in_lots(norm, torch.zeros(4, 2), num_lots=2, module=norm)
    assert norm.momentum == 0.1
