"""Objectives over the matrix of scores, one a file, and which of its pairs count as what.

To add one: write a module with one class that has a one-line `equation` and `source`, keyword options with
defaults, and `forward(logits, pairing) -> Loss`; finish every sum over images through the pairing's reducer;
register it below. If it bounds mutual information, it has a static `estimate(logits, pairing)` in nats. Its
contract tests run by themselves; tests/core/test_objectives.py asks for a slow version of its equation.
"""

from collections.abc import Callable

from torch import Tensor, nn

from mmil_cli.core.losses.dv import DonskerVaradhan
from mmil_cli.core.losses.hinge import Hinge
from mmil_cli.core.losses.infonce import InfoNCE
from mmil_cli.core.losses.jsd import JensenShannon
from mmil_cli.core.losses.mine import MINE
from mmil_cli.core.losses.nwj import NguyenWainwrightJordan
from mmil_cli.core.losses.pairing import Pairing
from mmil_cli.core.losses.sigmoid import Sigmoid

OBJECTIVES: dict[str, type[nn.Module]] = {
    "dv": DonskerVaradhan,
    "hinge": Hinge,
    "infonce": InfoNCE,
    "jsd": JensenShannon,
    "mine": MINE,
    "nwj": NguyenWainwrightJordan,
    "sigmoid": Sigmoid,
}

Estimate = Callable[[Tensor, Pairing], Tensor]

ESTIMATES: dict[str, Estimate] = {
    name: objective.estimate for name, objective in OBJECTIVES.items() if hasattr(objective, "estimate")
}
"""The objectives that bound mutual information, each as its bound in nats."""
