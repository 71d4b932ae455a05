"""Optimisers: Muon against its equations in double precision, and which parameters go where."""

import pytest
import torch


def matrix(rows, columns, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_orthogonal(values):
    """The quintic iteration on each singular value by itself."""
    left, singular, right = torch.linalg.svd(values, full_matrices=False)
    singular = singular / singular.square().sum().sqrt()
    for _ in range(5):
        singular = 3.4445 * singular - 4.7750 * singular**3 + 2.0315 * singular**5
    return left @ singular.diag() @ right


@pytest.mark.parametrize(("rows", "columns"), [(5, 5), (3, 40), (40, 3), (1, 7), (7, 1)])
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e6])
def test_a_matrix_keeps_its_singular_vectors_and_loses_its_scale(rows, columns, scale):
    from mmil_cli.training.optim import orthogonalise

    values = matrix(rows, columns)
    found = orthogonalise(scale * values)
    torch.testing.assert_close(found, slow_orthogonal(values), atol=1e-8, rtol=1e-8)
    singular = torch.linalg.svdvals(found)
    assert 0.6 < singular.min() <= singular.max() < 1.3


def test_in_single_precision_an_ill_conditioned_matrix_comes_out_the_same():
    from mmil_cli.training.optim import orthogonalise

    left, _, right = torch.linalg.svd(matrix(24, 90), full_matrices=False)
    values = left @ torch.logspace(0, -6, 24, dtype=torch.float64).diag() @ right
    torch.testing.assert_close(
        orthogonalise(values.float()).double(), slow_orthogonal(values), atol=2e-3, rtol=0
    )


def test_no_gradient_is_no_direction():
    from mmil_cli.training.optim import orthogonalise

    assert (orthogonalise(torch.zeros(3, 4)) == 0).all()


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (3, 2, 2, 2)])
def test_muon_follows_its_equation(shape):
    from mmil_cli.training.optim import Muon

    columns = torch.Size(shape[1:]).numel()
    parameter = torch.nn.Parameter(matrix(shape[0], columns).view(shape))
    optimiser = Muon([{"params": [parameter], "lr": 0.01, "weight_decay": 0.3}], momentum=0.8)
    expected = parameter.detach().flatten(1).clone()
    momentum = torch.zeros_like(expected)
    for step in range(4):
        gradient = matrix(*expected.shape, seed=step + 1)
        parameter.grad = gradient.view(shape)
        optimiser.step()
        momentum = 0.8 * momentum + gradient
        direction = slow_orthogonal(gradient + 0.8 * momentum)
        expected = expected * (1 - 0.01 * 0.3) - 0.01 * 0.2 * max(expected.shape) ** 0.5 * direction
        torch.testing.assert_close(parameter.detach().flatten(1), expected, atol=1e-8, rtol=1e-8)


def test_muon_leaves_a_parameter_without_gradient_alone():
    from mmil_cli.training.optim import Muon

    parameter = torch.nn.Parameter(matrix(3, 3))
    Muon([{"params": [parameter], "lr": 0.1, "weight_decay": 0.5}]).step()
    assert (parameter == matrix(3, 3)).all()


class Small(torch.nn.Module):
    """One parameter of every kind."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(9, 4)
        self.filters = torch.nn.Conv1d(4, 3, 2)
        self.norm = torch.nn.LayerNorm(3)
        self.frozen = torch.nn.Linear(3, 3).requires_grad_(False)
        self.head = torch.nn.Linear(3, 2)

    def forward(self, tokens):
        x = self.filters(self.table(tokens).transpose(1, 2)).transpose(1, 2)
        return self.head(self.frozen(self.norm(x)))


def make(model, *, muon):
    from mmil_cli.training.optim import make_optimiser, matrices_of

    others = [parameter for name, parameter in model.named_parameters() if not name.startswith("head")]
    groups = [(others, 0.1), (model.head.parameters(), 0.01)]
    return make_optimiser(groups, weight_decay=0.5, by_muon=matrices_of(model) if muon else ())


def test_muon_is_for_filters_and_matrices_and_not_for_tables():
    from mmil_cli.training.optim import matrices_of

    model = Small()
    assert [id(p) for p in matrices_of(model)] == [id(model.filters.weight), id(model.head.weight)]


@pytest.mark.parametrize("muon", [False, True])
def test_every_trained_parameter_is_in_one_group_with_its_rate_and_decay(muon):
    from mmil_cli.training.optim import set_learning_rate

    model = Small()
    optimiser = make(model, muon=muon)
    set_learning_rate(optimiser, 0.5)
    found = {id(p): group for group in optimiser.param_groups for p in group["params"]}
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert sum(len(group["params"]) for group in optimiser.param_groups) == len(trained) == len(found)
    for name, parameter in trained.items():
        group = found[id(parameter)]
        assert group["lr"] == pytest.approx(0.005 if name.startswith("head") else 0.05)
        assert group["weight_decay"] == (0.5 if parameter.dim() >= 2 else 0)


def train(model, optimiser, *, first, last):
    for step in range(first, last):
        tokens = torch.randint(9, (5, 6), generator=torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        model(tokens).square().mean().backward()
        optimiser.step()


@pytest.mark.parametrize("muon", [False, True])
def test_a_run_goes_on_from_a_saved_state_as_if_it_had_not_stopped(tmp_path, muon):
    from mmil_cli.training.state import Resumed, RunIdentity, load_state, save_state

    torch.manual_seed(0)
    model, identity = Small(), RunIdentity(recipe="a", dataset_hash="b")
    optimiser = make(model, muon=muon)
    train(model, optimiser, first=0, last=3)
    save_state(
        tmp_path / "state.pt", model=model, optimiser=optimiser, reached=Resumed(step=3), identity=identity
    )
    train(model, optimiser, first=3, last=6)
    again = Small()
    resumed = make(again, muon=muon)
    assert load_state(tmp_path / "state.pt", model=again, optimiser=resumed, identity=identity).step == 3
    train(again, resumed, first=3, last=6)
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
