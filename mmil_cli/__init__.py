"""mmil: representations of radiographs and their reports, as bags of regions and bags of sentences.

import mmil_cli

model = mmil_cli.load("runs/first")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmil_cli.api import Model, load

__version__ = "0.1.0"
__all__ = ["Model", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """`load` and `Model`, brought in when they are asked for: torch takes seconds to import."""
    if name in ("Model", "load"):
        from mmil_cli import api

        return getattr(api, name)
    raise AttributeError(f"module 'mmil_cli' has no attribute {name!r}")
