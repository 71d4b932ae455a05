"""The viewer over HTTP: on the loopback address, for those who have the token, and for no other page.

A page of another site can make a browser send requests to this machine. What it cannot know is the token;
and what it sends tells where it comes from: `Host` names the address asked for (another one after a change
of DNS), `Origin` the page that asks. Both must be ours.
"""

import io
import json
import re
import secrets
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image

from mmil_cli.errors import MmilError, UsageError
from mmil_cli.stages.viewer import Answer, Viewer
from mmil_cli.viz.viewer_page import viewer_page

LOOPBACK = "127.0.0.1"
FILMS_A_PAGE = 60
THUMBNAIL = 112
MOST_BYTES = 16_384
"""Of a request's body."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Refused(Exception):
    """A request that is answered with a status and one sentence."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class ViewServer(ThreadingHTTPServer):
    """Bound to the loopback address when made; answers once it has a viewer and serves.

    Args:
        port: 0 for any free one.
        token: the first part of every path.
    """

    daemon_threads = True
    viewer: Viewer

    def __init__(self, port: int, *, token: str) -> None:
        super().__init__((LOOPBACK, port), _Handler)
        self.token = token
        self.hosts = {f"{name}:{self.server_port}" for name in (LOOPBACK, "localhost")}

    @property
    def address(self) -> str:
        """Of the page."""
        return f"http://{LOOPBACK}:{self.server_port}/{self.token}/"


class _Handler(BaseHTTPRequestHandler):
    """One request; what is wrong with it is answered in one sentence."""

    server: ViewServer
    server_version, sys_version = "mmil", ""
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # an answer's head and body are two packets, and would cost 40 ms
    timeout = 30

    def do_GET(self) -> None:
        """The page, films, and lists of them."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """A phrase."""
        self._answer(self._post)

    def log_message(self, *_: Any) -> None:
        """Nothing: what is looked for in whose film is nobody's business."""

    def _answer(self, find: Callable[[str], None]) -> None:
        try:
            find(self._allowed_path())
        except Refused as refused:
            self._fail(refused.status, str(refused))
        except UsageError as error:
            self._fail(HTTPStatus.BAD_REQUEST, str(error))
        except MmilError as error:
            self._fail(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _allowed_path(self) -> str:
        """The path behind the token, of a request that may be answered."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if host not in self.server.hosts:
            raise Refused(HTTPStatus.FORBIDDEN, "this viewer answers only to its own address on this machine")
        if origin is not None and origin != f"http://{host}":
            raise Refused(HTTPStatus.FORBIDDEN, "this viewer does not answer to pages of other sites")
        _, _, rest = self.path.partition("/")
        token, slash, path = rest.partition("/")
        if not slash or not secrets.compare_digest(token.encode(), self.server.token.encode()):
            raise Refused(
                HTTPStatus.FORBIDDEN, "the token is wrong; open the whole address that mmil view printed"
            )
        return path

    def _get(self, path: str) -> None:
        parts = urlsplit(path)
        viewer = self.server.viewer
        if parts.path == "":
            page = viewer_page(splits=viewer.dataset.splits, low=viewer.low, high=viewer.high)
            self._send("text/html; charset=utf-8", page.html.encode(), policy=page.policy)
        elif parts.path == "films":
            self._send_json(
                list_films(viewer, {name: values[0] for name, values in parse_qs(parts.query).items()})
            )
        elif found := re.fullmatch(r"(film|thumb)/(-?\d{1,18})\.png", parts.path):
            self._send_film(int(found[2]), small=found[1] == "thumb")
        elif found := re.fullmatch(r"film/(-?\d{1,18})", parts.path):
            self._send_json(self._opened(int(found[1])))
        else:
            raise Refused(HTTPStatus.NOT_FOUND, "the viewer has no such page")

    def _post(self, path: str) -> None:
        body = self._body()
        if path != "phrase":
            raise Refused(HTTPStatus.NOT_FOUND, "the viewer has no such page")
        film, phrase = body.get("film"), body.get("phrase")
        if type(film) is not int or not isinstance(phrase, str):
            raise Refused(HTTPStatus.BAD_REQUEST, "a question has a film, by its number, and a phrase")
        self._film_exists(film)
        self._send_json(answer_record(self.server.viewer.ask(film, phrase)))

    def _body(self) -> Mapping[str, Any]:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            self.close_connection = True
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a question has at most {MOST_BYTES} bytes")
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise Refused(HTTPStatus.BAD_REQUEST, "the question is no JSON") from error
        if not isinstance(body, dict):
            raise Refused(HTTPStatus.BAD_REQUEST, "a question has a film and a phrase")
        return body

    def _film_exists(self, index: int) -> None:
        try:
            self.server.viewer.row(index)
        except UsageError as error:
            raise Refused(HTTPStatus.NOT_FOUND, str(error)) from error

    def _opened(self, index: int) -> dict[str, Any]:
        """What is known of a film, which is encoded meanwhile."""
        self._film_exists(index)
        row = self.server.viewer.row(index)
        self.server.viewer.open(index)
        known = {"view": row.view, "split": row.split, "study": row.study_id, "patient": row.patient_id}
        return {
            "id": row.image_id,
            "width": row.width,
            "height": row.height,
            "sentences": row.sentences,
            "about": ", ".join(
                f"{name} {value}" for name, value in {"film": row.image_id, **known}.items() if value
            ),
        }

    def _send_film(self, index: int, *, small: bool) -> None:
        self._film_exists(index)
        pixels = self.server.viewer.dataset.pixels(index)
        self._send("image/png", as_png(pixels, most=THUMBNAIL if small else None))

    def _send_json(self, content: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send("application/json", json.dumps(content, allow_nan=False).encode(), status=status)

    def _fail(self, status: HTTPStatus, sentence: str) -> None:
        if self.command == "POST":
            self.close_connection = True  # its body may not have been read
        self._send_json({"error": f"{sentence[0].upper()}{sentence[1:]}."}, status)

    def _send(
        self,
        kind: str,
        content: bytes,
        *,
        status: HTTPStatus = HTTPStatus.OK,
        policy: str = "default-src 'none'",
    ) -> None:
        self.send_response(status)
        headers = {**HEADERS, "Content-Security-Policy": policy, "Content-Type": kind}
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)


def list_films(viewer: Viewer, asked: Mapping[str, str]) -> dict[str, Any]:
    """Films whose name or study holds what is looked for, of one split or of all, some at a time.

    Args:
        viewer: whose films.
        asked: `find`, `split` ("" for all) and `from`, the place of the first.

    Raises:
        UsageError: there is no such split, or `from` is no number.
    """
    dataset, words, start = viewer.dataset, asked.get("find", "").strip(), asked.get("from", "0")
    if not re.fullmatch(r"\d{1,18}", start):
        raise UsageError(f"`from` is the place of a film, not {start!r}")
    rows = dataset.indices(asked.get("split") or None)
    if words:
        named = [np.char.find(np.char.lower(viewer.names(name)[rows]), words.lower()) >= 0 for name in
                 ("image_id", "study_id")]  # fmt: skip
        rows = rows[named[0] | named[1]]
    shown = [(int(row), dataset.row(int(row))) for row in rows[int(start) : int(start) + FILMS_A_PAGE]]
    return {
        "total": len(rows),
        "films": [
            {"row": row, "id": about.image_id, "view": about.view, "split": about.split}
            for row, about in shown
        ],
    }


def answer_record(answer: Answer) -> dict[str, Any]:
    """An answer as JSON."""
    return {
        "phrase": answer.phrase,
        "score": answer.score,
        "verdict": str(answer.verdict),
        "notes": answer.notes(),
        "width": answer.map.width,
        "height": answer.map.height,
        "levels": answer.map.text(),
    }


def as_png(pixels: np.ndarray, *, most: int | None = None) -> bytes:
    """A film uint8 [h, w] as PNG, its longest side at most so many pixels."""
    image = Image.fromarray(pixels)
    if most is not None:
        image.thumbnail((most, most), reducing_gap=2.0)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
