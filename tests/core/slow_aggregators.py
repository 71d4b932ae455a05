"""Every region aggregator again: one pair of an image and a sentence at a time, from its equation, in loops.

`pair` holds the real regions x, the sentence y, its real words and the critic h of two vectors; `part` is
asked for its learned weights only. Defaults are those of the papers, or of METHODS.md.
"""

import math
from collections import namedtuple

import torch

Pair = namedtuple("Pair", "x y words h")


def unit(vector):
    return vector / math.sqrt(sum(float(component) ** 2 for component in vector))


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def softmax(values):
    powers = [math.exp(value - max(values)) for value in values]
    return [power / sum(powers) for power in powers]


def blend(weights, vectors):
    return sum((weight * vector for weight, vector in zip(weights, vectors, strict=True)), 0 * vectors[0])


def scores(pair):
    return [pair.h(x, pair.y) for x in pair.x]


def probabilities(part, pair):
    slope, bias = math.exp(part.logit.log_scale.item()), part.logit.bias.item()
    return [sigmoid(slope * score + bias) for score in scores(pair)]


def slow_lse(part, pair, gamma=5.0):
    return math.log(sum(math.exp(gamma * score) for score in scores(pair)) / len(pair.x)) / gamma


def slow_max(part, pair):
    return max(scores(pair))


def slow_mean(part, pair):
    return sum(scores(pair)) / len(pair.x)


def slow_top_k(part, pair, k=5):
    highest = sorted(scores(pair), reverse=True)[: int(k)]
    return sum(highest) / len(highest)


def slow_noisy_or(part, pair):
    return 1 - math.prod(1 - p for p in probabilities(part, pair))


def slow_isr(part, pair):
    odds = sum(p / (1 - p) for p in probabilities(part, pair))
    return odds / (1 + odds)


def slow_noisy_and(part, pair, gamma=10.0):
    shown, b = probabilities(part, pair), sigmoid(part.threshold.item())
    m = sum(shown) / len(shown)
    return (sigmoid(gamma * (m - b)) - sigmoid(-gamma * b)) / (sigmoid(gamma * (1 - b)) - sigmoid(-gamma * b))


def slow_gm(part, pair, gamma=3.0):
    return (sum(p**gamma for p in probabilities(part, pair)) / len(pair.x)) ** (1 / gamma)


def slow_nl(part, pair, gamma=5.0, similarity="identity"):
    matrix = torch.eye(len(pair.y)).double() if similarity == "identity" else part.similarity.detach()
    best = max(range(len(pair.x)), key=lambda n: scores(pair)[n])
    weights = softmax([gamma * float((matrix @ x) @ (matrix @ pair.x[best])) for x in pair.x])
    return pair.h(unit(blend(weights, pair.x)), pair.y)


def slow_pooled(part, pair):
    return pair.h(unit(sum(pair.x)), pair.y)


def slow_attention(part, pair):
    inputs = [x * math.sqrt(len(x)) for x in pair.x]
    content = [torch.tanh(part.content.weight @ x + part.content.bias) for x in inputs]
    weights = softmax([float(part.weight.weight[0] @ hidden) for hidden in content])
    return pair.h(unit(blend(weights, pair.x)), pair.y)


def slow_gated_attention(part, pair):
    logits = []
    for x in pair.x:
        inputs = x * math.sqrt(len(x))
        content = torch.tanh(part.content.weight @ inputs + part.content.bias)
        gate = torch.sigmoid(part.gate.weight @ inputs + part.gate.bias)
        logits.append(float(part.weight.weight[0] @ (content * gate)))
    return pair.h(unit(blend(softmax(logits), pair.x)), pair.y)


def slow_self_attention(part, pair):
    root = math.sqrt(len(pair.y))
    inputs = [root * x for x in pair.x]
    changed = []
    for x in inputs:
        query = part.query.weight @ x
        weights = softmax([float(query @ (part.key.weight @ other)) / root for other in inputs])
        values = [part.value.weight @ other for other in inputs]
        changed.append(x + part.out.weight @ blend(weights, values))
    return pair.h(unit(sum(changed)), pair.y)


def slow_cross_attention(part, pair, gamma=5.0):
    weights = softmax([gamma * score for score in scores(pair)])
    return pair.h(unit(blend(weights, pair.x)), pair.y)


def attended(pair, weights_of_word):
    """h(c_w, w) of every word with its own context."""
    return [
        pair.h(unit(blend(weights, pair.x)), word)
        for weights, word in zip(weights_of_word, pair.words, strict=True)
    ]


def slow_word_attention(part, pair, gamma=4.0, gamma_words=5.0):
    over_words = [softmax([pair.h(x, word) for word in pair.words]) for x in pair.x]
    attention = [softmax([gamma * row[w] for row in over_words]) for w in range(len(pair.words))]
    return math.log(sum(math.exp(gamma_words * found) for found in attended(pair, attention)))


def slow_stacked_attention(part, pair, gamma=9.0, pool="lse", gamma_words=6.0):
    shares = []
    for x in pair.x:
        positive = [max(0.0, pair.h(x, word)) for word in pair.words]
        norm = math.sqrt(sum(value**2 for value in positive))
        shares.append([value / norm if norm else 0.0 for value in positive])
    attention = [softmax([gamma * row[w] for row in shares]) for w in range(len(pair.words))]
    found = attended(pair, attention)
    if pool == "lse":
        return math.log(sum(math.exp(gamma_words * value) for value in found)) / gamma_words
    return max(found) if pool == "max" else sum(found) / len(found)


def slow_word_max(part, pair):
    return sum(max(pair.h(x, word) for x in pair.x) for word in pair.words) / len(pair.words)


def slow_region_max(part, pair):
    return sum(max(pair.h(x, word) for word in pair.words) for x in pair.x) / len(pair.x)


SLOW = {
    "lse": slow_lse,
    "max": slow_max,
    "mean": slow_mean,
    "top-k": slow_top_k,
    "noisy-or": slow_noisy_or,
    "isr": slow_isr,
    "noisy-and": slow_noisy_and,
    "gm": slow_gm,
    "nl": slow_nl,
    "pooled": slow_pooled,
    "attention": slow_attention,
    "gated-attention": slow_gated_attention,
    "self-attention": slow_self_attention,
    "cross-attention": slow_cross_attention,
    "word-attention": slow_word_attention,
    "stacked-attention": slow_stacked_attention,
    "word-max": slow_word_max,
    "region-max": slow_region_max,
}
"""A registered aggregator that is missing here fails its tests."""

OTHER = {
    ("lse", "gamma"): 20.0,
    ("top-k", "k"): 2,
    ("noisy-and", "gamma"): 4.0,
    ("gm", "gamma"): 0.5,
    ("nl", "gamma"): 1.0,
    ("nl", "similarity"): "learned",
    ("cross-attention", "gamma"): 20.0,
    ("word-attention", "gamma"): 15.0,
    ("word-attention", "gamma_words"): 2.0,
    ("stacked-attention", "gamma"): 2.0,
    ("stacked-attention", "pool"): "mean",
    ("stacked-attention", "gamma_words"): 2.0,
}
"""For each option of an aggregator a value that is not its default; a missing one fails its tests."""


def variants(name):
    """The options of an aggregator to test: none, and each of its own."""
    yield {}
    yield from ({option: value} for (owner, option), value in OTHER.items() if owner == name)
    if name == "stacked-attention":
        yield {"pool": "max"}


def slow_scores(name, part, instances, **options):
    """The scores of an aggregator, pair by pair; 0 where there is no region or no word to look at."""
    words = instances.sentences.words
    critic = slow_critic(instances.critic)
    found = torch.zeros(len(instances.regions), len(words.mask), dtype=torch.float64)
    for b in range(found.shape[0]):
        for u in range(found.shape[1]):
            pair = Pair(
                x=list(instances.regions[b, instances.mask[b]].detach()),
                y=instances.sentences.features[u].detach(),
                words=list(words.features[u, words.mask[u]].detach()),
                h=critic,
            )
            if pair.x and (pair.words or not part.reads_words):
                found[b, u] = SLOW[name](part, pair, **options)
    return found


def slow_cosine(critic, x, y):
    return sum(float(a) * float(b) for a, b in zip(x, y, strict=True))


def slow_bilinear(critic, x, y):
    return sum(
        float(x[i]) * float(critic.weight[i, j]) * float(y[j]) for i in range(len(x)) for j in range(len(y))
    )


def slow_mlp(critic, x, y):
    """On the concatenated pair, as the layers of local mutual information have it."""
    pair = math.sqrt(len(x)) * torch.cat([x, y])
    first = torch.cat([critic.region.weight, critic.sentence.weight], dim=1) @ pair + critic.region.bias
    second = critic.second.weight @ first.clamp(min=0) + critic.second.bias
    return float(critic.last.weight[0] @ second.clamp(min=0) + critic.last.bias[0])


SLOW_CRITICS = {"cosine": slow_cosine, "bilinear": slow_bilinear, "mlp": slow_mlp}
"""A registered critic that is missing here fails its tests."""


def slow_critic(critic):
    """h(x, y) of two vectors."""
    from mmil_cli.core.critics import CRITICS

    (name,) = [name for name, kind in CRITICS.items() if type(critic) is kind]
    return lambda x, y: SLOW_CRITICS[name](critic, x, y)
