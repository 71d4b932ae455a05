"""Critics: the instance score h(x, y) of every region with every sentence.

To add one: write a module with one class of the shape of `critic.Critic`, and register it below; its tests
run by themselves (tests/core/test_critics.py).
"""

from mmil_cli.core.critics.bilinear import Bilinear
from mmil_cli.core.critics.cosine import Cosine
from mmil_cli.core.critics.critic import Critic
from mmil_cli.core.critics.mlp import MLP

CRITICS: dict[str, type[Critic]] = {"cosine": Cosine, "bilinear": Bilinear, "mlp": MLP}
