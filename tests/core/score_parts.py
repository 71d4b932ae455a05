"""What the tests of scores share: bags and instances in small, and parts with weights of their own."""

import inspect

import torch
from torch.nn import functional as F

DIM = 6
SMALL = {"mlp": {"hidden": 8, "second": 5}}  # options of critics that are large by default


def units(*shape, seed=0, dtype=torch.float64):
    """Random unit vectors."""
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1).to(dtype)


def build(kind, *, dim=DIM, seed=0, **options):
    """A part in double precision whose parameters are not where they start, so that all of them matter."""
    if "dim" in inspect.signature(kind).parameters:
        options["dim"] = dim
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        part = kind(**options).double()
        with torch.no_grad():
            for parameter in part.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return part


def make_aggregator(name, **options):
    from mmil_cli.core.aggregators import AGGREGATORS

    return build(AGGREGATORS[name], **options)


def make_critic(name="cosine", *, dim=DIM):
    from mmil_cli.core.critics import CRITICS

    return build(CRITICS[name], dim=dim, **SMALL.get(name, {}))


def make_instances(
    critic=None, *, regions=None, mask=None, sentences=None, words=None, word_mask=None, num_regions=7
):
    """Three images and five sentences of four words, all real, but for what is given."""
    from mmil_cli.core.aggregators.instances import Instances
    from mmil_cli.core.bags import Sentences, Words

    regions = units(3, num_regions, DIM, seed=1) if regions is None else regions
    sentences = units(5, DIM, seed=2) if sentences is None else sentences
    words = units(len(sentences), 4, DIM, seed=3).to(sentences.dtype) if words is None else words
    return Instances(
        regions=regions,
        mask=torch.ones(regions.shape[:2], dtype=torch.bool) if mask is None else mask,
        sentences=Sentences(
            features=sentences,
            words=Words(
                features=words,
                mask=torch.ones(words.shape[:2], dtype=torch.bool) if word_mask is None else word_mask,
            ),
        ),
        critic=critic or make_critic(),
    )


def changed(instances, **changes):
    """The same instances but for what is given, with nothing that was computed of them."""
    words = instances.sentences.words
    old = {
        "regions": instances.regions,
        "mask": instances.mask,
        "sentences": instances.sentences.features,
        "words": words.features,
        "word_mask": words.mask,
    }
    return make_instances(changes.pop("critic", instances.critic), **(old | changes))


def make_bags(
    reports=((0, 1), (2,), (1, 3, 4)),
    *,
    num_images=4,
    num_regions=9,
    num_sentences=5,
    num_words=4,
    dim=DIM,
    dtype=torch.float64,
    mask=None,
):
    """Images as bags of regions and reports as bags of sentences with their words."""
    from mmil_cli.core.bags import RegionBag, SentenceBag, Sentences, Words

    longest = max((len(report) for report in reports), default=0)
    index = torch.full((len(reports), longest), -1)
    for place, report in enumerate(reports):
        index[place, : len(report)] = torch.tensor(report, dtype=torch.long)
    word_mask = torch.arange(num_words) < num_words - torch.arange(num_sentences)[:, None] % max(1, num_words)
    sentences = Sentences(
        features=units(num_sentences, dim, seed=2, dtype=dtype),
        words=Words(features=units(num_sentences, num_words, dim, seed=3, dtype=dtype), mask=word_mask),
    )
    regions = RegionBag(
        features=units(num_images, num_regions, dim, seed=1, dtype=dtype),
        mask=torch.ones(num_images, num_regions, dtype=torch.bool) if mask is None else mask,
        grid=(num_regions, 1),
    )
    return regions, SentenceBag(sentences=sentences, index=index)


def with_gradients(regions, reports):
    """Copies of the bags whose features are leaves, and those leaves."""
    from dataclasses import replace

    x, y, words = (
        tensor.detach().clone().requires_grad_()
        for tensor in (regions.features, reports.sentences.features, reports.sentences.words.features)
    )
    sentences = replace(reports.sentences, features=y, words=replace(reports.sentences.words, features=words))
    return replace(regions, features=x), replace(reports, sentences=sentences), (x, y, words)


def user_options(kind):
    """The keywords of a part that a user may give."""
    return {
        name: parameter
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name != "dim"
    }


def scale_options(registry):
    """Every (name, option) of a registry that is a scale."""
    from mmil_cli.core.scales import ScaleLike

    return [
        (name, option)
        for name, kind in registry.items()
        for option, parameter in user_options(kind).items()
        if parameter.annotation == ScaleLike
    ]
