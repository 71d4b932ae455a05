"""The process whose copies read films: it imports all they need, and tidies up where its owner cannot.

`multiprocessing` has the owner make a folder for the socket of this process (`pymp-*`) and remove it at its
end. An owner that is killed does not come to that. This process ends when its owner and all copies have, and
then the folder is of no more use to anybody.
"""

import atexit
import os
import shutil

import mmil_cli.stages.conversion  # noqa: F401 - what is imported here, no copy has to import
from mmil_cli.stages.workers import FOLDER


def _tidy_up(folder: str, server: int) -> None:
    """Remove the folder; in the server alone, for its copies begin with all that it has registered."""
    if os.getpid() == server:
        shutil.rmtree(folder, ignore_errors=True)


if named := os.environ.pop(FOLDER, ""):
    atexit.register(_tidy_up, named, os.getpid())
