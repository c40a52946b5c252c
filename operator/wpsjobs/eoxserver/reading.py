"""What the housekeeper lets people read of the shared volume: kept logs, and published files.

``kubectl wps`` asks for it through the API server's service proxy, so that RBAC says who may. The
port is open to other pods of the cluster as well; they would have to know the UID of the WpsJob,
which nobody can guess and only those can read who may read the WpsJob.

==============================================  ================================================
``GET /healthz``                                whether it listens
``GET /jobs/<name>/<uid>/logs/<attempt>``       the kept log of an attempt
``GET /jobs/<name>/<uid>/files/<path>``         a published file, such as executeResponse.xml;
                                                ``Content-Location`` is its public URL
==============================================  ================================================
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import os
import re
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.eoxserver.client import Cluster, ClusterError, NotFoundError
from wpsjobs.eoxserver.config import Config
from wpsjobs.eoxserver.files import open_within
from wpsjobs.eoxserver.storage import Storage

logger = logging.getLogger(__name__)

IDLE_SECONDS = 30.0
"""After which a connection on which nothing moves is closed."""
CHUNK_BYTES = 256 * 1024
"""Of a file, read and sent at once."""
_PATH = re.compile(r"/jobs/(?P<name>[^/]+)/(?P<uid>[^/]+)/(?P<kind>logs|files)/(?P<rest>.+)")


class NothingThereError(Exception):
    """There is no such job or file; the message says what there is none of."""


class Reader:
    """Serves ``GET`` requests on *port* in threads of its own until it is closed."""

    def __init__(self, config: Config, cluster: Cluster, port: int) -> None:
        self._config, self._cluster = config, cluster
        self._storage = Storage(config.path_temp, config.path_perm, config.path_task)
        reader = self

        class Handler(_Handler):
            """One request."""

            def open_path(self, path: str) -> tuple[BinaryIO, str | None]:
                return reader.open_path(path)

        self._server = _Server(("0.0.0.0", port), Handler)  # noqa: S104 (a pod has one address)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, daemon=True, name="reader"
        )

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()
        logger.info("kept logs and published files are read at port %d", self.port)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def open_path(self, path: str) -> tuple[BinaryIO, str | None]:
        """The file that the URL path *path* is for, open, and its public URL if it has one.

        Raises NothingThereError, and ClusterError where the API server does not tell.
        """
        match = _PATH.fullmatch(urlsplit(path).path)
        if match is None:
            raise NothingThereError("no such path")
        job = self._job(unquote(match["name"]), unquote(match["uid"]))
        rest = unquote(match["rest"])
        if match["kind"] == "logs":
            if not (rest.isascii() and rest.isdigit()):
                raise NothingThereError("no such attempt")
            path_of_log = self._storage.log_path(job.id, int(rest))
            return _opened(self._storage.task_dir(job.id), path_of_log), None
        if any(part in {"", ".."} or part.startswith(".") for part in rest.split("/")):
            raise NothingThereError("no such file")  # hidden ones are half-written
        folder = self._storage.perm_dir(job.id)
        return _opened(folder, folder / rest), f"{self._config.url_base}/{job.id}/{rest}"

    def _job(self, name: str, uid: str) -> WpsJob:
        """The WpsJob, if *uid* is its UID and the directories of its id are its own."""
        try:
            job = WpsJob.from_raw(self._cluster.get_job(name))
        except NotFoundError as error:
            raise NothingThereError("no such WpsJob") from error
        if not hmac.compare_digest(job.metadata.uid.encode(), uid.encode()):
            raise NothingThereError("no such WpsJob")
        marker = self._storage.marker(job.id)
        if (
            marker is None
            or marker.name != job.metadata.name
            or marker.submission != job.spec.submission
        ):
            raise NothingThereError("nothing is stored for this WpsJob yet")
        return job


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Say it in the log, where the base class prints."""
        logger.warning("a request from %s broke off", client_address[0], exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server_version, sys_version = "wpsjobs", ""
    timeout = IDLE_SECONDS

    def open_path(self, path: str) -> tuple[BinaryIO, str | None]:
        """See ``Reader``."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """Answer."""
        if self.path == "/healthz":
            self._say(HTTPStatus.OK, "ok")
            return
        try:
            file, url = self.open_path(self.path)
        except NothingThereError as error:
            self._say(HTTPStatus.NOT_FOUND, str(error))
        except ClusterError as error:
            self._say(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        else:
            with file:
                self._send(file, url)

    def _send(self, file: BinaryIO, url: str | None) -> None:
        size = os.fstat(file.fileno()).st_size
        self.send_response(HTTPStatus.OK)
        # Whatever it is: the API server's proxy would rewrite HTML.
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(size))
        if url is not None and url.isascii() and url.isprintable():
            self.send_header("Content-Location", url)
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            _copy(file, self.wfile, size)

    def _say(self, status: HTTPStatus, words: str) -> None:
        body = f"{words}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        """Requests are logged for those who look closely."""
        logger.debug("%s: %s", self.client_address[0], format % args)


def _copy(file: BinaryIO, to: Any, size: int) -> None:
    """Exactly *size* bytes: a log may grow meanwhile."""
    left = size
    while left > 0 and (chunk := file.read(min(left, CHUNK_BYTES))):
        to.write(chunk)
        left -= len(chunk)


def _opened(folder: Path, path: Path) -> BinaryIO:
    try:
        return open_within(folder, path)
    except FileNotFoundError as error:
        raise NothingThereError("no such file") from error
