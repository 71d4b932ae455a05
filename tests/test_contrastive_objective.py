"""The loss of a batch: the same, with its gradients, whether encoders hold all of it or a part at a time."""

from contextlib import nullcontext

import pytest
import torch

OBJECTIVES = ("dv", "hinge", "infonce", "jsd", "mine", "nwj", "sigmoid")
SCORES = (
    {"expression": "lse(gamma=learned)+nl", "sentences": "max"},
    {"expression": "lse(gamma=auto)+nl", "temperature": "auto", "sentences": "lse(gamma=learned)"},
    {"expression": "max", "critic": "mlp(hidden=8)", "sentences": "one"},
    {"expression": "noisy-or+gated-attention", "critic": "bilinear"},
    {"expression": "word-max+word-attention"},
    {"expression": "stacked-attention+pooled"},
)


def make_model(score, **text):
    from mmil_cli.build import build_model
    from mmil_cli.config.load import check, with_preset

    tree = {
        "image": {"widths": [6, 8], "size": 32},
        "text": {"width": 8, "heads": 2, "layers": 1, "dropout": 0.0, **text},
        "projection": {"dim": 6},
        "score": score,
    }
    torch.manual_seed(0)
    return build_model(check(with_preset(tree), where="test"), vocabulary_size=50).double()


def make_batch(num_films=7, num_sentences=9):
    from mmil_cli.data.batches import Batch

    draw = torch.Generator().manual_seed(0)
    lengths = torch.randint(3, 9, (num_sentences,), generator=draw)
    tokens = torch.randint(5, 50, (num_sentences, 8), generator=draw)
    mask = torch.arange(8) < lengths[:, None]
    index = torch.randint(0, num_sentences, (num_films, 3), generator=draw)
    index[::2, 2] = -1
    return Batch(
        films=torch.randint(0, 256, (num_films, 32, 32), dtype=torch.uint8, generator=draw),
        cover=torch.tensor([0.0, 0.1, 1.0, 0.9]).expand(num_films, 4),
        bag=torch.arange(num_films),
        slot=torch.zeros(num_films, dtype=torch.long),
        tokens=tokens.masked_fill(~mask, 0),
        token_mask=mask,
        sentence=torch.arange(num_sentences),
        sentence_index=index,
        study=torch.arange(num_films) // 2 * 2,
        text=torch.arange(num_films),
    )


def losses_of(model, *, num_lots, seed=3):
    """The losses of one step, its gradients, and the buffers after it."""
    from mmil_cli.core.losses.pairing import SameGroup
    from mmil_cli.data.batches import whole_batch
    from mmil_cli.data.transforms import Augment
    from mmil_cli.objective import ContrastiveObjective

    objective = ContrastiveObjective(
        model,
        augment=Augment(
            rotate=9.0, shift=0.1, scale=0.1, crop=0.2, brightness=0.1, contrast=0.1, blur=0.02, noise=0.1,
            erase=0.3,
        ),
        mean=0.5,
        std=0.25,
        same_group=SameGroup.EXCLUDE,
        part=whole_batch(7),
        autocast=nullcontext,
        num_lots=num_lots,
    )  # fmt: skip
    torch.manual_seed(seed)
    model.zero_grad()
    losses = objective(make_batch(), torch.Generator().manual_seed(seed))
    losses.total.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return losses, gradients, {name: value.clone() for name, value in model.named_buffers()}


def doubled(monkeypatch):
    """Films in double precision, so that what is left of a difference is no rounding."""
    from mmil_cli import objective

    plain = objective.normalise
    monkeypatch.setattr(objective, "normalise", lambda films, **scale: plain(films, **scale).double())


def assert_alike(found, expected):
    losses, gradients, buffers = found
    assert losses.total.item() == pytest.approx(expected[0].total.item(), rel=1e-12)
    assert {name: value.item() for name, value in losses.parts.items()} == pytest.approx(
        {name: value.item() for name, value in expected[0].parts.items()}, rel=1e-10
    )
    assert gradients.keys() == expected[1].keys()
    assert {name.split(".")[0] for name in gradients} >= {"image_encoder", "text_encoder"}
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[1][name], rtol=1e-8, atol=1e-11, msg=name)
    for name, buffer in buffers.items():
        if "num_batches" not in name:
            torch.testing.assert_close(buffer, expected[2][name], rtol=1e-10, atol=1e-12, msg=name)


def freeze_batch_norm(model):
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()


@pytest.mark.parametrize(
    ("objective", "score"),
    [
        (name, SCORES[(number + more) % len(SCORES)])
        for number, name in enumerate(OBJECTIVES)
        for more in (0, 3)
    ],
    ids=lambda part: part if isinstance(part, str) else part["expression"],
)
def test_lots_give_the_gradients_of_the_whole_batch(objective, score, monkeypatch):
    from mmil_cli.core import losses

    assert set(OBJECTIVES) == set(losses.OBJECTIVES)
    doubled(monkeypatch)
    found = []
    for num_lots in (1, 3):
        model = make_model({"temperature": 1.0, **score, "objective": objective})
        freeze_batch_norm(model)
        for _ in range(2):  # scales calibrated and averages begun by a first step
            result = losses_of(model, num_lots=num_lots)
        found.append(result)
    assert_alike(found[1], found[0])


def test_with_batch_norm_the_gradients_are_those_of_its_lots(monkeypatch):
    """Beside one graph of all lots, without caching; and unlike those of one lot."""
    from mmil_cli import objective as module

    doubled(monkeypatch)
    cached = losses_of(make_model({"expression": "lse+nl"}).train(), num_lots=3)

    def kept(encode, *inputs, num_lots, module):
        lots = zip(*(rows.tensor_split(num_lots) for rows in inputs), strict=True)
        return [encode(*lot) for lot in lots]

    monkeypatch.setattr(module, "encode_in_lots", kept)
    plain = losses_of(make_model({"expression": "lse+nl"}).train(), num_lots=3)
    assert cached[0].total.item() == pytest.approx(plain[0].total.item(), rel=1e-12)
    for name, gradient in cached[1].items():
        torch.testing.assert_close(gradient, plain[1][name], rtol=1e-8, atol=1e-11)
    whole = losses_of(make_model({"expression": "lse+nl"}).train(), num_lots=1)
    assert abs(whole[0].total.item() - cached[0].total.item()) > 1e-3


def test_dropout_drops_the_same_both_times():
    losses = []
    for _ in range(2):
        model = make_model({"expression": "lse"}, dropout=0.5).float()
        freeze_batch_norm(model)
        gradients = losses_of(model, num_lots=3)[1]
        before = losses_of(model, num_lots=3)[0].total.item()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in gradients and name.startswith("text_encoder"):
                    parameter -= 1e-2 * gradients[name]
        losses.append((before, losses_of(model, num_lots=3)[0].total.item()))
    assert losses[0] == losses[1]
    assert losses[0][1] < losses[0][0]


@pytest.mark.parametrize(
    ("batch_size", "processes", "chunk", "lots"),
    [
        (64, 1, 0, 1),
        (64, 1, 64, 1),
        (64, 1, 63, 2),
        (65, 2, 32, 2),
        (64, 2, 32, 1),
        (3, 2, 1, 1),
        (9, 1, 1, 9),
    ],
)
def test_number_of_lots(batch_size, processes, chunk, lots):
    from mmil_cli.stages.pretrain_data import lots_of

    assert lots_of(batch_size, processes=processes, chunk=chunk) == lots
