"""Region aggregators: permutation-invariant scores g(X, y) between a bag of regions and one sentence.

To add one: write a module with one class whose `forward(instances)` returns one score for each image and
sentence, and register it below. Its contract tests run by themselves (tests/core/test_aggregators.py).
*Local* aggregators pool instance scores, *global* ones pool region features and score the pooled vector.
"""

from torch import nn

from mmil_cli.core.aggregators.lse import LogSumExp
from mmil_cli.core.aggregators.max import Max
from mmil_cli.core.aggregators.mean import Mean
from mmil_cli.core.aggregators.nl import NonLocal

AGGREGATORS: dict[str, type[nn.Module]] = {
    "lse": LogSumExp,
    "max": Max,
    "mean": Mean,
    "nl": NonLocal,
}
