"""View: a page on this machine alone, where a film is picked, a phrase typed, and its map seen at once."""

import errno
import secrets
from collections.abc import Callable
from pathlib import Path

from mmil_cli.errors import MmilError
from mmil_cli.stages.evaluation import OnProgress, open_evaluation
from mmil_cli.stages.view_server import LOOPBACK, ViewServer
from mmil_cli.stages.viewer import Viewer


def run(
    checkpoint: Path,
    data: Path,
    *,
    port: int = 0,
    device: str = "auto",
    on_progress: OnProgress | None = None,
    on_start: Callable[[str], None],
) -> None:
    """Serves the page on the loopback address until Ctrl-C.

    Args:
        checkpoint: checkpoint or run folder.
        data: dataset folder.
        port: of the loopback address; 0 for any free one.
        device: auto, cpu or cuda.
        on_progress: told of the films that scores are held against, which are encoded first.
        on_start: given the page's address, with its token, once it answers.

    Raises:
        DataError: there is no dataset folder.
        CheckpointError: the checkpoint is incomplete.
        MmilError: the port is taken.
    """
    with _bound(port) as server:
        server.viewer = Viewer(
            open_evaluation(data, checkpoint=checkpoint, device=device), on_progress=on_progress
        )
        on_start(server.address)
        try:
            server.serve_forever(poll_interval=0.1)
        except KeyboardInterrupt:
            return


def _bound(port: int) -> ViewServer:
    """The server on its port, taken before the long work begins; it answers nothing yet."""
    try:
        return ViewServer(port, token=secrets.token_urlsafe(24))
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise MmilError(
            f"port {port} of {LOOPBACK} cannot be had ({error.strerror}); give another --port, or 0 for any "
            "free one"
        ) from error
