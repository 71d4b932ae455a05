"""Region aggregators: permutation-invariant scores g(X, y) between a bag of regions and one sentence.

To add one: write a module with one class of the shape of `aggregator.Aggregator`, whose `forward(instances)`
gives a score for each image and sentence, and register it below. Its contract tests run by themselves
(tests/core/test_aggregators.py), and `mmil scores` lists it.
"""

from mmil_cli.core.aggregators.aggregator import Aggregator
from mmil_cli.core.aggregators.attention import Attention, GatedAttention
from mmil_cli.core.aggregators.cross_attention import CrossAttention
from mmil_cli.core.aggregators.generalised_mean import GeneralisedMean
from mmil_cli.core.aggregators.isr import ISR
from mmil_cli.core.aggregators.lse import LogSumExp
from mmil_cli.core.aggregators.max import Max
from mmil_cli.core.aggregators.mean import Mean
from mmil_cli.core.aggregators.nl import NonLocal
from mmil_cli.core.aggregators.noisy_and import NoisyAnd
from mmil_cli.core.aggregators.noisy_or import NoisyOr
from mmil_cli.core.aggregators.pooled import Pooled
from mmil_cli.core.aggregators.self_attention import SelfAttention
from mmil_cli.core.aggregators.top_k import TopK
from mmil_cli.core.aggregators.words import RegionMax, StackedAttention, WordAttention, WordMax

AGGREGATORS: dict[str, type[Aggregator]] = {
    "lse": LogSumExp,
    "max": Max,
    "mean": Mean,
    "top-k": TopK,
    "noisy-or": NoisyOr,
    "isr": ISR,
    "noisy-and": NoisyAnd,
    "gm": GeneralisedMean,
    "nl": NonLocal,
    "pooled": Pooled,
    "attention": Attention,
    "gated-attention": GatedAttention,
    "self-attention": SelfAttention,
    "cross-attention": CrossAttention,
    "word-attention": WordAttention,
    "stacked-attention": StackedAttention,
    "word-max": WordMax,
    "region-max": RegionMax,
}
