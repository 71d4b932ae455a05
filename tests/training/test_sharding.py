"""Encoders in shares over two processes: the losses, weights and moments of whole ones."""

import copy
import os
import socket

import pytest
import torch
import torch.multiprocessing

STEPS = 3
SIZE = 2
FILMS = 6


def a_batch(rank):
    """This process's half of a batch of noise."""
    from mmil_cli.data.batches import Batch

    generator = torch.Generator().manual_seed(0)
    films = torch.randint(0, 256, (FILMS, 32, 32), dtype=torch.uint8, generator=generator)
    tokens = torch.randint(1, 20, (FILMS, 5), generator=generator)
    own = slice(rank * FILMS // SIZE, (rank + 1) * FILMS // SIZE)
    numbers = torch.arange(FILMS)[own]
    return Batch(
        films=films[own],
        cover=torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(len(numbers), 4),
        bag=torch.arange(len(numbers)),
        slot=torch.zeros_like(numbers),
        tokens=tokens[own],
        token_mask=torch.ones_like(tokens[own], dtype=torch.bool),
        sentence=numbers,
        sentence_index=torch.arange(len(numbers)).unsqueeze(1),
        study=numbers,
        text=numbers,
    )


def a_model():
    from mmil_cli.core.batch_norm import across_processes
    from mmil_cli.core.build_score import build_score
    from mmil_cli.core.encoders.small_resnet import SmallResNet
    from mmil_cli.core.encoders.text import SmallTransformer
    from mmil_cli.core.model import DualEncoder
    from mmil_cli.core.projection import Projection

    torch.manual_seed(0)
    model = DualEncoder(
        image_encoder=SmallResNet(widths=(5, 7), blocks=1),
        image_projection=Projection(7, 6),
        text_encoder=SmallTransformer(
            vocabulary_size=20, width=6, num_layers=2, num_heads=2, max_tokens=5, dropout=0.0
        ),
        text_projection=Projection(6, 6),
        score=build_score("lse+nl", dim=6),
    )
    across_processes(model)
    return model


def an_objective(model, rank):
    from contextlib import nullcontext

    from mmil_cli.core.losses.pairing import SameGroup
    from mmil_cli.data.batches import Part
    from mmil_cli.data.transforms import Augment
    from mmil_cli.objective import ContrastiveObjective

    nothing = dict.fromkeys(Augment.__dataclass_fields__, 0.0)
    return ContrastiveObjective(
        model,
        augment=Augment(**nothing),
        mean=0.5,
        std=0.25,
        same_group=SameGroup.EXCLUDE,
        part=Part(first=rank * FILMS // SIZE, last=(rank + 1) * FILMS // SIZE, num_rows=FILMS),
        autocast=nullcontext,
    )


def an_optimiser(model):
    from mmil_cli.training.optim import make_optimiser

    towers = ("image_encoder.", "text_encoder.")
    groups = [[p for n, p in model.named_parameters() if n.startswith(tower)] for tower in towers]
    rest = [p for n, p in model.named_parameters() if not n.startswith(towers)]
    return make_optimiser([(group, 0.01) for group in (rest, *groups)], weight_decay=0.05)


def train(model, optimiser, rank, steps):
    """Losses and norms of some steps."""
    from mmil_cli.training.processes import Processes
    from mmil_cli.training.sharding import clip_gradients

    processes = Processes(rank=rank, size=SIZE, device=torch.device("cpu"))
    objective, batch = an_objective(model, rank), a_batch(rank)
    told = []
    for _ in range(steps):
        losses = objective(batch, torch.Generator().manual_seed(0))
        optimiser.zero_grad(set_to_none=True)
        losses.total.backward()
        processes.sum_gradients(model)
        norm = clip_gradients(model.parameters(), 0.5)
        optimiser.step()
        told.append((losses.total.item(), float(norm)))
    return told


def work(rank, folder, port):
    place = {"RANK": rank, "WORLD_SIZE": SIZE, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    from mmil_cli.training.sharding import gathered, share_out, shares_of_moments, shares_of_weights, whole

    alone, shared = a_model(), a_model()
    share_out([shared.image_encoder, shared.text_encoder], torch.device("cpu"))
    found = {"elements": [sum(p.to_local().numel() for p in shared.image_encoder.parameters())]}
    optimisers = [an_optimiser(alone), an_optimiser(shared)]
    found["whole"] = train(alone, optimisers[0], rank, STEPS)
    found["shared"] = train(shared, optimisers[1], rank, STEPS)
    found["weights"] = copy.deepcopy([alone.state_dict(), whole(shared.state_dict())])
    found["moments"] = copy.deepcopy([optimisers[0].state_dict(), whole(optimisers[1].state_dict())])

    with gathered(shared), torch.no_grad():
        if rank == 0:  # alone, while the other is elsewhere
            films = torch.randn(2, 1, 32, 32)
            for model in (alone, shared):
                model.eval()
                found.setdefault("features", []).append(model.image_encoder(films))
                found.setdefault("texts", []).append(model.text_encoder(*a_text()))
                model.train()
        torch.distributed.barrier()

    resumed = a_model()
    share_out([resumed.image_encoder, resumed.text_encoder], torch.device("cpu"))
    resumed.load_state_dict(shares_of_weights(found["weights"][0], resumed))
    optimiser = an_optimiser(resumed)
    moments = copy.deepcopy(found["moments"][0])  # torch keeps what it is given
    optimiser.load_state_dict(shares_of_moments(moments, optimiser.param_groups))
    found["later whole"] = train(alone, optimisers[0], rank, STEPS)
    found["later shared"] = train(shared, optimisers[1], rank, STEPS)
    found["later resumed"] = train(resumed, optimiser, rank, STEPS)
    torch.save(found, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def a_text():
    tokens = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 0, 0, 0]])
    return tokens, tokens > 0


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of two processes found."""
    import multiprocessing

    folder = tmp_path_factory.mktemp("shares")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.set_forkserver_preload(["torch", "mmil_cli.objective", "mmil_cli.training.sharding"])
    torch.multiprocessing.start_processes(work, args=(folder, port), nprocs=SIZE, start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt") for rank in range(SIZE)]


def test_every_process_holds_about_half(found):
    total = sum(parameter.numel() for parameter in a_model().image_encoder.parameters())
    held = [each["elements"][0] for each in found]
    assert sum(held) == total
    assert max(held) < 0.65 * total


@pytest.mark.parametrize("when", ["", "later "])
def test_losses_and_norms_are_those_of_whole_encoders(found, when):
    for each in found:
        names = [f"{when}shared", *(["later resumed"] if when else [])]
        for name in names:
            assert each[name] == [pytest.approx(step, rel=1e-3) for step in each[f"{when}whole"]]
    losses = [loss for loss, _ in found[0]["whole"]]
    assert losses[0] - losses[-1] > 1e-3


def test_weights_and_moments_gathered_are_those_of_whole_encoders(found):
    expected, gathered = found[0]["weights"]
    assert expected.keys() == gathered.keys()
    for name, weight in expected.items():
        if not name.endswith(
            "in_proj_bias"
        ):  # that of keys has no gradient but rounding, which Adam blows up
            torch.testing.assert_close(gathered[name], weight, atol=1e-4, rtol=1e-3)
    expected, gathered = found[0]["moments"]
    assert expected["state"].keys() == gathered["state"].keys()
    for number, moments in expected["state"].items():
        for name, value in moments.items():
            torch.testing.assert_close(gathered["state"][number][name], value, atol=1e-5, rtol=1e-2)


def test_one_process_runs_the_model_alone_while_it_is_gathered(found):
    for name in ("features", "texts"):
        expected, gathered = found[0][name]
        torch.testing.assert_close(gathered, expected, atol=1e-3, rtol=1e-3)
        assert name not in found[1]
