"""One batch over 1, 2 and 3 processes: losses, parts and every gradient are those of one process.

The processes run once, meet in groups of each size, and write down what they found.
"""

import itertools
import multiprocessing

import pytest
import torch
import torch.multiprocessing
from torch.nn import functional as F

SPLITS = {1: [(9,)], 2: [(5, 4)], 3: [(3, 2, 4), (5, 0, 4)]}  # images of each process, of 9
STUDY = (0, 0, 1, 2, 3, 4, 5, 6, 1)  # images of one study: 0 and 1; 2 and 8
TEXT = (0, 1, 2, 3, 0, 0, 4, 5, 6)  # reports of one text: 0, 4 and 5
REPORTS = ((0, 1), (0, 2), (3,), (4, 5, 0), (0, 1), (0, 1), (), (6, 2), (3, 5))  # sentences of each
FURTHER = {"hinge": [{"negatives": "all"}], "infonce": [{"image_to_text": 1.0}], "mine": [{"decay": 0.5}]}
SCORES = ("lse+nl", "lse(gamma=3)", "nl(gamma=2)", "word-max")


def cases():
    from mmil_cli.core.losses import OBJECTIVES

    for name, same_group in itertools.product(OBJECTIVES, ("exclude", "positive")):
        for options in ({}, *FURTHER.get(name, [])):
            yield f"{name} {options} {same_group}", name, options, same_group


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def batches():
    """Logits of two steps; in the second many negatives tie for the hardest."""
    return [2 * normal(9, 9, seed=0), normal(9, 9, seed=1).round() + 1]


def objective_steps(name, options, *, rows, pairing):
    """What a few steps give: values, gradients of the own rows, of the parameters, and what is kept."""
    from mmil_cli.core.losses import ESTIMATES, OBJECTIVES

    objective = OBJECTIVES[name](**options).double()
    found = {"total": [], "parts": [], "logits": []}
    for whole in batches():
        logits = whole[rows].clone().requires_grad_()
        loss = objective(logits, pairing)
        loss.total.backward()
        found["total"].append(loss.total.detach())
        found["parts"].append(loss.parts)
        found["logits"].append(logits.grad)
    found["parameters"] = [parameter.grad for parameter in objective.parameters()]
    found["buffers"] = list(objective.buffers())
    if name in ESTIMATES:
        found["estimate"] = ESTIMATES[name](batches()[0][rows], pairing)
    return found


def bags_of(rows):
    """The regions and reports of some rows; of every other image two of five regions are padding."""
    from mmil_cli.core.bags import RegionBag, SentenceBag, Sentences, Words

    places = range(9)[rows]
    held = sorted({sentence for row in places for sentence in REPORTS[row]})
    slots = max((len(REPORTS[row]) for row in places), default=0)
    index = [[held.index(s) for s in REPORTS[row]] + [-1] * (slots - len(REPORTS[row])) for row in places]
    longest = 2 + len(held) % 3  # processes pad their words to different lengths
    words = F.pad(F.normalize(normal(7, 2, 6, seed=5)[held], dim=-1), (0, 0, 0, longest - 2))
    regions = F.normalize(normal(9, 5, 6, seed=3), dim=-1)[rows].clone().requires_grad_()
    sentences = F.normalize(normal(7, 6, seed=4), dim=-1)[held].clone().requires_grad_()
    mask = torch.ones(9, 5, dtype=torch.bool)
    mask[1::2, 3:] = False
    return (
        RegionBag(features=regions, mask=mask[rows], grid=(1, 5)),
        SentenceBag(
            sentences=Sentences(
                features=sentences,
                words=Words(features=words.requires_grad_(), mask=(words != 0).any(dim=-1)),
            ),
            index=torch.tensor(index, dtype=torch.int64).reshape(len(places), slots),
        ),
        held,
    )


def score_step(expression, *, rows, pairing, gather):
    """A whole step from features to the loss; gradients of sentences are given by sentence."""
    from mmil_cli.core.build_score import build_score

    regions, reports, held = bags_of(rows)
    score = build_score(expression, dim=6).double()
    loss = score.loss(regions, gather(reports), pairing)
    loss.total.backward()
    sentences = reports.sentences
    of_sentences, of_words = torch.zeros(7, 6).double(), torch.zeros(7, 2, 6).double()
    if score.reads_words:
        of_words[held] = sentences.words.features.grad[:, :2]
    else:
        of_sentences[held] = sentences.features.grad
    learned = [parameter.grad for parameter in score.parameters() if parameter.requires_grad]
    return {
        "total": loss.total.detach(),
        "regions": regions.features.grad,
        "sentences": of_sentences,
        "words": of_words,
        "parameters": learned,
    }


def work(rank, folder):
    """One process, in every job that has a place for it."""
    import torch.distributed as dist

    torch.set_num_threads(1)
    for size, splits in SPLITS.items():
        if rank < size:
            meeting = f"file://{folder / f'meeting-{size}'}"
            dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=size)
            for split in splits:
                torch.save(steps_of(rank, split), folder / f"{split}-{rank}.pt")
            dist.destroy_process_group()


def steps_of(rank, split):
    """Everything that one process finds with its part of the images."""
    from mmil_cli.core.batch_norm import across_processes
    from mmil_cli.core.distributed import gather_reports, gather_rows, pair_job
    from mmil_cli.core.losses.pairing import SameGroup

    rows = slice(sum(split[:rank]), sum(split[: rank + 1]))
    study, text = torch.tensor(STUDY)[rows], torch.tensor(TEXT)[rows]
    found = {"gather": gathered(rows, gather_rows, gather_reports)}
    for case, name, options, same_group in cases():
        pairing = pair_job(study, text, same_group=SameGroup(same_group))
        found[case] = objective_steps(name, options, rows=rows, pairing=pairing)
    for expression in SCORES if min(split) else ():
        pairing = pair_job(study, text)
        found[expression] = score_step(expression, rows=rows, pairing=pairing, gather=gather_reports)
    if min(split):
        found["norm"] = normalised(rows, convert=across_processes)
    return found


def normalised(rows, *, convert):
    """Two steps of a network with a batch norm, on channels with means far from 0, and an evaluation."""
    network = torch.nn.Sequential(
        torch.nn.Sequential(torch.nn.BatchNorm2d(3, eps=1e-3, momentum=0.3))
    ).double()
    torch.nn.init.normal_(network[0][0].weight, generator=torch.Generator().manual_seed(2))
    convert(network)
    films = (normal(9, 3, 4, 5, seed=9) + 50 * normal(1, 3, 1, 1, seed=10))[rows].clone().requires_grad_()
    for _ in range(2):
        y = network(films)
        (y.sin() * normal(9, 3, 4, 5, seed=11)[rows]).sum().backward()
    return {
        "rows": [y.detach(), films.grad, network.eval()(films).detach()],
        "parameters": [parameter.grad for parameter in network.parameters()],
        "state": list(network.state_dict().values()),
    }


def gathered(rows, gather_rows, gather_reports):
    """Rows gathered, and the gradient of a function of all that differs between processes."""
    own = normal(9, 3, seed=6)[rows].clone().requires_grad_()
    half = normal(9, 3, seed=6)[rows].to(torch.bfloat16).requires_grad_()
    everyone = gather_rows(own)
    weights = normal(9, 9, seed=7)[rows]
    (weights @ everyone.sin()).pow(2).sum().backward()
    (weights.to(torch.bfloat16) @ gather_rows(half)).sum().backward()
    _, reports, _ = bags_of(rows)
    reports = gather_reports(reports)
    words = reports.sentences.words
    (normal(*words.features.shape, seed=8) * words.features).sum().backward()
    return {
        "rows": everyone.detach(),
        "gradient": own.grad,
        "half": half.grad,
        "numbers": gather_rows(torch.arange(9)[rows]),
        "index": reports.index,
        "features": reports.sentences.features.detach(),
        "words": words.features.detach(),
        "mask": words.mask,
    }


@pytest.fixture(scope="module")
def found_by_all(tmp_path_factory):
    """What each process of each job found."""
    folder = tmp_path_factory.mktemp("jobs")
    multiprocessing.set_forkserver_preload(["torch", "mmil_cli.core.build_score"])  # imported once for all
    torch.multiprocessing.start_processes(work, args=(folder,), nprocs=max(SPLITS), start_method="forkserver")
    splits = [split for splits in SPLITS.values() for split in splits]
    return {
        split: [torch.load(folder / f"{split}-{rank}.pt") for rank in range(len(split))] for split in splits
    }


@pytest.fixture(params=[split for splits in SPLITS.values() for split in splits], ids=str)
def job(request, found_by_all):
    """What each process of one job found."""
    return found_by_all[request.param]


@pytest.fixture(params=[split for splits in SPLITS.values() for split in splits if min(split)], ids=str)
def job_with_images(request, found_by_all):
    """The same where no process is without images: a score of none of them is not promised."""
    return found_by_all[request.param]


def pytest_generate_tests(metafunc):
    """Every registered objective is spread over processes, just by being registered."""
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", list(cases()), ids=lambda case: case[0])


def whole(same_group="exclude"):
    from mmil_cli.core.losses.pairing import SameGroup, pair_batch

    return pair_batch(torch.tensor(STUDY), torch.tensor(TEXT), same_group=SameGroup(same_group))


def assert_same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_an_objective_is_that_of_one_process(job, case):
    key, name, options, same_group = case
    expected = objective_steps(name, options, rows=slice(0, 9), pairing=whole(same_group))
    assert any(grad.abs().max() > 0 for grad in expected["logits"])
    found = [process[key] for process in job]
    for own in found:
        assert own.keys() == expected.keys()
        for replicated in expected.keys() & {"total", "parts", "buffers", "estimate"}:
            assert_same(own[replicated], expected[replicated])
    steps = zip(*(own["logits"] for own in found), strict=True)
    assert_same([torch.cat(rows) for rows in steps], expected["logits"])
    summed = [sum(grads) for grads in zip(*(own["parameters"] for own in found), strict=True)]
    assert_same(summed, expected["parameters"])


@pytest.mark.parametrize("expression", SCORES)
def test_a_score_and_its_gradients_are_those_of_one_process(job_with_images, expression):
    expected = score_step(expression, rows=slice(0, 9), pairing=whole(), gather=lambda reports: reports)
    found = [process[expression] for process in job_with_images]
    assert expected["regions"].abs().max() > 0
    assert (expected["sentences"] + expected["words"].sum(dim=1)).abs().max() > 0
    assert_same([own["total"] for own in found], [expected["total"]] * len(found))
    assert_same(torch.cat([own["regions"] for own in found]), expected["regions"])
    for name in ("sentences", "words"):
        assert_same(sum(own[name] for own in found), expected[name])
    summed = [sum(grads) for grads in zip(*(own["parameters"] for own in found), strict=True)]
    assert_same(summed, expected["parameters"])


def test_rows_are_gathered_in_order_and_their_gradients_summed(job):
    own = normal(9, 3, seed=6).requires_grad_()
    (normal(9, 9, seed=7) @ own.sin()).pow(2).sum().backward()
    half = normal(9, 9, seed=7).to(torch.bfloat16).float().sum(dim=0)[:, None].expand(9, 3)
    for process in job:
        assert_same(process["gather"]["rows"], own.detach())
        assert process["gather"]["numbers"].tolist() == list(range(9))
    assert_same(torch.cat([process["gather"]["gradient"] for process in job]), own.grad)
    halves = torch.cat([process["gather"]["half"] for process in job])
    assert halves.dtype == torch.bfloat16
    torch.testing.assert_close(halves.float(), half, rtol=0.02, atol=0.05)


def test_gathered_reports_hold_the_sentences_of_all(job):
    table = F.normalize(normal(7, 6, seed=4), dim=-1)
    words = F.normalize(normal(7, 2, 6, seed=5), dim=-1)
    for process in job:
        found = process["gather"]
        assert len(found["index"]) == 9
        for row, report in zip(found["index"], REPORTS, strict=True):
            places = row[row >= 0]
            assert (row[: len(places)] >= 0).all()  # padding comes last
            assert_same(found["features"][places], table[list(report)])
            assert_same(found["words"][places, :2], words[list(report)])
            assert found["mask"][places, :2].all()
        assert not found["mask"][:, 2:].any()
        assert (found["words"][:, 2:] == 0).all()


def test_batch_norm_is_that_of_one_process(job_with_images):
    expected = normalised(slice(0, 9), convert=lambda network: None)
    found = [process["norm"] for process in job_with_images]
    rows = zip(*(own["rows"] for own in found), strict=True)
    assert_same([torch.cat(parts) for parts in rows], expected["rows"])
    summed = [sum(grads) for grads in zip(*(own["parameters"] for own in found), strict=True)]
    assert_same(summed, expected["parameters"])
    for own in found:
        assert_same(own["state"], expected["state"])


def test_merged_reports_hold_each_sentence_once_in_the_old_order():
    from mmil_cli.core.bags import SentenceBag, Sentences
    from mmil_cli.core.distributed import merge_sentences

    number = torch.tensor([70, 5, 70, 9, 5, 2])
    features = F.normalize(number[:, None] * torch.ones(6, 3), dim=-1) * number[:, None]
    index = torch.tensor([[0, 1, -1], [2, 3, 4], [5, -1, -1], [-1, -1, -1]])
    merged = merge_sentences(SentenceBag(sentences=Sentences(features=features), index=index), number)
    assert merged.index.tolist() == [[0, 1, -1], [0, 2, 1], [3, -1, -1], [-1, -1, -1]]
    assert_same(merged.sentences.features, features[[0, 1, 3, 5]])
    nothing = SentenceBag(sentences=Sentences(features=features[:0]), index=index[3:])
    assert merge_sentences(nothing, number[:0]).index.tolist() == [[-1, -1, -1]]
