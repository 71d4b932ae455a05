"""Conversions that end their process; in a module of their own, since every process has to import it."""

import os
import signal

from mmil_cli.stages.conversion import Conversion


class Faulting(Conversion):
    """Films 2 and 9 are a fault of memory."""

    def __call__(self, item):
        if item[0].image_id in ("i2", "i9"):
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().__call__(item)


class Killed(Conversion):
    """Film 5 has its process killed."""

    def __call__(self, item):
        if item[0].image_id == "i5":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(item)
