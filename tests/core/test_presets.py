"""Every preset equals the method it names, written by hand from the papers: scores, loss and gradients.

A preset without a hand-written version in METHODS fails.
"""

import math
from collections import namedtuple

import pytest
import torch
from score_parts import make_bags, with_gradients
from torch.nn import functional as F

SENTENCES = ((0, 1), (2,), (3, 4, 1), (0, 5))
TEXTS = ((0,), (1,), (4,), (3,))  # one text a report: a whole report, or the sentence that was drawn
MASK = torch.arange(7) < torch.tensor([[7], [3], [1], [6]])

Batch = namedtuple("Batch", "images texts words reports f")
"""Real regions of each image; vector and real words of each text; texts of each report; an MLP f."""


def table(batch, g):
    """g(regions, text number) of every image with every text."""
    return torch.stack([torch.stack([g(x, u) for u in range(len(batch.texts))]) for x in batch.images])


def of_reports(batch, scores):
    """The mean over the texts of each report."""
    columns = [torch.stack([scores[:, u] for u in report]).mean(dim=0) for report in batch.reports]
    return torch.stack(columns, dim=1)


def average(x):
    mean = x.mean(dim=0)
    return mean / mean.norm()


def pick_report(logits):
    return F.cross_entropy(logits, torch.arange(len(logits)))


def pick_image(logits):
    return F.cross_entropy(logits.T, torch.arange(len(logits)))


def info_nce(logits):
    return (pick_report(logits) + pick_image(logits)) / 2


def hardest_hinge(scores):
    """VSE++: the margin over the hardest report of an image, and over the hardest image of a report."""
    cost = 0
    for b in range(len(scores)):
        others = [n for n in range(len(scores)) if n != b]
        cost += F.relu(0.2 + max(scores[b, n] for n in others) - scores[b, b])
        cost += F.relu(0.2 + max(scores[n, b] for n in others) - scores[b, b])
    return cost / len(scores)


def donsker_varadhan(f):
    joint, product = f.diagonal(), f[~torch.eye(len(f), dtype=torch.bool)]
    return -(joint.mean() - product.exp().mean().log())


def pairwise_sigmoid(logits):
    signs = 2 * torch.eye(len(logits)).double() - 1
    return -torch.log(1 / (1 + torch.exp(-signs * (logits - 10)))).sum() / len(logits)


def cosine_of_averages(batch):
    return of_reports(batch, table(batch, lambda x, u: average(x) @ batch.texts[u]))


def clip(batch):
    logits = cosine_of_averages(batch) / 0.07
    return logits, info_nce(logits)


def convirt(batch):
    logits = cosine_of_averages(batch) / 0.1
    return logits, 0.75 * pick_report(logits) + 0.25 * pick_image(logits)


def gloria(batch):
    def local(x, u):
        words = batch.words[u]
        attention = torch.softmax(4 * torch.softmax(x @ words.T, dim=1), dim=0)  # over words, then regions
        contexts = attention.T @ x
        cosines = (contexts * words).sum(dim=1) / contexts.norm(dim=1)
        return torch.exp(5 * cosines).sum().log()

    near, far = 10 * of_reports(batch, table(batch, local)), 10 * cosine_of_averages(batch)
    return near + far, info_nce(near) + info_nce(far)


def scan(batch):
    def text_to_image(x, u):
        words = batch.words[u]
        shares = (x @ words.T).clamp(min=0)
        shares = shares / shares.square().sum(dim=1, keepdim=True).sqrt().clamp(min=1e-12)
        contexts = torch.softmax(9 * shares, dim=0).T @ x
        relevance = (contexts * words).sum(dim=1) / contexts.norm(dim=1)
        return torch.exp(6 * relevance).sum().log() / 6

    scores = of_reports(batch, table(batch, text_to_image))
    return scores, hardest_hinge(scores)


def vse(batch):
    scores = cosine_of_averages(batch)
    return scores, hardest_hinge(scores)


def filip(batch):
    image = of_reports(batch, table(batch, lambda x, u: (x @ batch.words[u].T).amax(dim=1).mean())) / 0.07
    text = of_reports(batch, table(batch, lambda x, u: (x @ batch.words[u].T).amax(dim=0).mean())) / 0.07
    return (image + text) / 2, (pick_report(image) + pick_image(text)) / 2


def siglip(batch):
    logits = 10 * cosine_of_averages(batch)
    return logits, pairwise_sigmoid(logits)


def best_region(batch):
    return of_reports(
        batch, table(batch, lambda x, u: torch.stack([batch.f(n, batch.texts[u]) for n in x]).max())
    )


def average_region(batch):
    return of_reports(batch, table(batch, lambda x, u: batch.f(average(x), batch.texts[u])))


def local_mi(batch):
    return best_region(batch), donsker_varadhan(best_region(batch))


def local_mi_infonce(batch):
    return best_region(batch), pick_report(best_region(batch))


def global_mi(batch):
    return average_region(batch), donsker_varadhan(average_region(batch))


def global_mi_infonce(batch):
    return average_region(batch), pick_report(average_region(batch))


def lse(x, y):
    return torch.exp(5 * x @ y).mean().log() / 5


def best(x, y):
    return (x @ y).max()


def mean(x, y):
    return (x @ y).mean()


def noisy_or(x, y):
    return 1 - torch.prod(1 - torch.sigmoid(5 * x @ y - 6))


def nl(x, y):
    critical = x[(x @ y).argmax()]
    pooled = torch.softmax(5 * x @ critical, dim=0) @ x
    return pooled / pooled.norm() @ y


def info_nce_of(*aggregators):
    """The sum of InfoNCE on each aggregator's mean over sentences, at temperature 0.07."""

    def method(batch):
        logits = [
            of_reports(batch, table(batch, lambda x, u, g=g: g(x, batch.texts[u]))) / 0.07
            for g in aggregators
        ]
        return sum(logits), sum(info_nce(each) for each in logits)

    return method


METHODS = {
    "clip": clip,
    "convirt": convirt,
    "gloria": gloria,
    "scan": scan,
    "vse++": vse,
    "filip": filip,
    "biovil": clip,
    "siglip": siglip,
    "local-mi": local_mi,
    "local-mi-infonce": local_mi_infonce,
    "global-mi": global_mi,
    "global-mi-infonce": global_mi_infonce,
    "lse": info_nce_of(lse),
    "max": info_nce_of(best),
    "mean": info_nce_of(mean),
    "noisy-or": info_nce_of(noisy_or),
    "lse+mean": info_nce_of(lse, mean),
    "lse+nl": info_nce_of(lse, nl),
}


def pytest_generate_tests(metafunc):
    from mmil_cli.config.presets import PRESETS

    if "preset" in metafunc.fixturenames:
        metafunc.parametrize("preset", list(PRESETS))


def recipe_of(preset):
    from mmil_cli.config.load import load_recipe

    return load_recipe(None, score=preset)


def score_of(preset, dim=6):
    from mmil_cli.core.build_score import build_score

    torch.manual_seed(0)
    score = recipe_of(preset).score
    return build_score(dim=dim, **score.model_dump(exclude={"same_group"})).double()


def discriminator(critic):
    """The released one, [x; y] -> 1024 -> ReLU -> 512 -> ReLU -> 1, on vectors of length sqrt(D)."""

    def f(x, y):
        pair = math.sqrt(len(x)) * torch.cat([x, y])
        first = torch.cat([critic.region.weight, critic.sentence.weight], dim=1) @ pair + critic.region.bias
        second = critic.second.weight @ first.relu() + critic.second.bias
        return (critic.last.weight @ second.relu() + critic.last.bias)[0]

    return f


def test_equals_the_method_it_names(preset):
    from mmil_cli.core.losses.pairing import pair_batch

    score = score_of(preset)
    for part in score.modules():  # past the warm-up of the hinge, where the method begins
        if hasattr(part, "num_warm"):
            part.num_warm.fill_(part.warmup)
    draws = recipe_of(preset).text.unit == "report" or recipe_of(preset).score.sentences == "one"
    bags = make_bags(TEXTS if draws else SENTENCES, num_regions=7, num_sentences=6, mask=MASK)
    regions, reports, leaves = with_gradients(*bags)
    words = reports.sentences.words
    batch = Batch(
        images=[x[real] for x, real in zip(regions.features, MASK, strict=True)],
        texts=reports.sentences.features,
        words=[word[real] for word, real in zip(words.features, words.mask, strict=True)],
        reports=TEXTS if draws else SENTENCES,
        f=discriminator(score.critic),
    )
    logits, loss = METHODS[preset](batch)
    torch.testing.assert_close(score.logits(regions, reports), logits, atol=1e-8, rtol=1e-6)
    found = score.loss(regions, reports, pair_batch(torch.arange(4), torch.arange(4))).total
    torch.testing.assert_close(found, loss, atol=1e-8, rtol=1e-6)
    gradients = (torch.autograd.grad(total, leaves, materialize_grads=True) for total in (found, loss))
    torch.testing.assert_close(*gradients, atol=1e-8, rtol=1e-5)


FACTS = {
    "clip": {"text.unit": "report", "score.learn_temperature": True},
    "convirt": {"score.sentences": "one", "projection.dim": 512, "score.learn_temperature": False},
    "gloria": {"text.unit": "report", "score.learn_temperature": False},
    "biovil": {"text.pool": "first", "projection.dim": 128},
    "siglip": {"text.unit": "report", "score.learn_temperature": True},
    "local-mi": {"text.unit": "sentence", "score.sentences": "one", "score.learn_temperature": False},
    "local-mi-infonce": {"text.unit": "sentence", "score.sentences": "one"},
    "global-mi": {"text.unit": "report", "score.learn_temperature": False},
}
"""What METHODS.md says of a method beside its equations."""


@pytest.mark.parametrize("name", list(FACTS))
def test_has_what_else_the_method_is_made_of(name):
    recipe = recipe_of(name)
    for key, value in FACTS[name].items():
        section, option = key.split(".")
        assert getattr(getattr(recipe, section), option) == value, key


def test_the_two_bounds_of_local_mi_give_different_gradients():
    """Not the same up to a constant, as in the released code."""
    from mmil_cli.core.losses.pairing import pair_batch

    bags, found = make_bags(TEXTS, num_regions=7, num_sentences=6), []
    for preset in ("local-mi", "local-mi-infonce"):
        score, (regions, reports, leaves) = score_of(preset), with_gradients(*bags)
        with torch.no_grad():
            score.critic.last.weight.mul_(30)  # scores far from equal, as after training
        loss = score.loss(regions, reports, pair_batch(torch.arange(4), torch.arange(4))).total
        found.append(torch.autograd.grad(loss, leaves[0])[0])
    assert F.cosine_similarity(found[0].flatten(), found[1].flatten(), dim=0) < 0.99
