"""A small API server for tests: WpsJobs of one namespace over HTTPS, watches, preconditions.

It keeps the rules that the plugin and the worker lean on: resource versions grow, preconditions
conflict, the status is a subresource, a watch goes on from a version.
"""

from __future__ import annotations

import copy
import datetime
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from wpsjobs.api.names import API_VERSION, GROUP, VERSION

NAMESPACE = "wps"
NAMESPACE_UID = "5f0c7a52-8f3e-4a0a-9d60-2f8a0d3f7b11"
JOBS = f"/apis/{GROUP}/{VERSION}/namespaces/{NAMESPACE}/wpsjobs"

Job = dict[str, Any]


class Refusal(Exception):  # noqa: N818 (a status, not an error of the test)
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class FakeApi:
    """The server, and the tests' view of what it holds."""

    def __init__(self, directory: Path) -> None:
        self._lock = threading.Condition()
        self._version = 1000
        self.jobs: dict[str, Job] = {}
        self.events: list[tuple[int, str, Job]] = []
        self.patches: list[tuple[str, Job]] = []
        self.others: dict[str, Job] = {}
        self.forbidden_verbs: set[str] = set()
        self.requests: list[tuple[str, str]] = []
        self.connections = 0
        """How many were made."""
        self.on_created: Callable[[Job], Job | None] = lambda _: None
        """Given a new WpsJob, the status that the operator gives it."""
        self.refuse: Callable[[str, str], Refusal | None] = lambda _method, _path: None
        certificate = make_certificate(directory)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._server = _Server(("127.0.0.1", 0), _handler(self), context, self._count)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.closed = False

    def __enter__(self) -> FakeApi:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.closed = True
            self._lock.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _count(self) -> None:
        with self._lock:
            self.connections += 1

    # For tests

    def add(self, job: Job) -> Job:
        with self._lock:
            return self._store("ADDED", job)

    def set_status(self, name: str, **status: Any) -> Job:
        """What the operator does."""
        with self._lock:
            job = copy.deepcopy(self.jobs[name])
            job["status"] = {**job.get("status", {}), **status}
            return self._store("MODIFIED", job)

    def set_spec(self, name: str, **spec: Any) -> Job:
        with self._lock:
            job = copy.deepcopy(self.jobs[name])
            job["spec"].update(spec)
            return self._store("MODIFIED", job)

    def remove(self, name: str) -> None:
        with self._lock:
            self._delete(name)

    def wait_for(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until *condition* holds after some change."""
        with self._lock:
            assert self._lock.wait_for(condition, seconds), f"not in {seconds} s: {self.jobs}"

    def progress(self, name: str) -> Job:
        return self.jobs[name].get("status", {}).get("progress", {})

    # The rules

    def _store(self, kind: str, job: Job) -> Job:
        self._version += 1
        job["metadata"]["resourceVersion"] = str(self._version)
        self.jobs[job["metadata"]["name"]] = job
        self.events.append((self._version, kind, copy.deepcopy(job)))
        self._lock.notify_all()
        return job

    def _delete(self, name: str) -> None:
        job = copy.deepcopy(self.jobs.pop(name))
        self._version += 1
        job["metadata"]["resourceVersion"] = str(self._version)
        self.events.append((self._version, "DELETED", job))
        self._lock.notify_all()

    def answer(self, method: str, path: str, body: Any) -> Job:
        with self._lock:
            self.requests.append((method, path))
            if refusal := self.refuse(method, path):
                raise refusal
            if path == f"/api/v1/namespaces/{NAMESPACE}":
                return {"metadata": {"name": NAMESPACE, "uid": NAMESPACE_UID}}
            if not path.startswith(JOBS):
                return self._other(method, path, body)
            if path == JOBS:
                return self._create(body) if method == "POST" else self._list()
            name, _, subresource = path.removeprefix(JOBS + "/").partition("/")
            if name not in self.jobs:
                raise Refusal(404, f'wpsjobs "{name}" not found')
            if method == "PATCH":
                return self._patch(name, subresource, body)
            if method == "DELETE":
                self._check(self.jobs[name], (body or {}).get("preconditions", {}))
                self._delete(name)
                return {"kind": "Status", "status": "Success"}
            return self.jobs[name]

    def _other(self, method: str, path: str, body: Any) -> Job:
        """WpsQueues and WpsProcesses, and what one may do."""
        if path.endswith("/selfsubjectaccessreviews"):
            verb = body["spec"]["resourceAttributes"]["verb"]
            return {"status": {"allowed": verb not in self.forbidden_verbs}}
        if method == "POST":
            self.others[f"{path}/{body['metadata']['name']}"] = body
            return dict(body)
        if path in self.others:
            if method == "PATCH":
                self.others[path] = _merge(self.others[path], body)
            return self.others[path]
        if path.rpartition("/")[2] not in {"wpsqueues", "wpsprocesses"}:
            raise Refusal(404, f"{path} not found")
        items = [item for key, item in self.others.items() if key.startswith(path + "/")]
        return {"items": items, "metadata": {"resourceVersion": str(self._version)}}

    def _create(self, body: Job) -> Job:
        name = body["metadata"]["name"]
        if name in self.jobs:
            raise Refusal(409, f'wpsjobs "{name}" already exists')
        job = make_job(name, **body["spec"])
        job["metadata"]["annotations"] = body["metadata"].get("annotations", {})
        created = copy.deepcopy(self._store("ADDED", job))
        status = self.on_created(created)
        if status is not None:
            job = copy.deepcopy(created)
            job["status"] = status
            self._store("MODIFIED", job)
        return created

    def _list(self) -> Job:
        items = [copy.deepcopy(job) for job in self.jobs.values()]
        return {"items": items, "metadata": {"resourceVersion": str(self._version)}}

    def _patch(self, name: str, subresource: str, body: Job) -> Job:
        job = copy.deepcopy(self.jobs[name])
        if version := body.get("metadata", {}).get("resourceVersion"):
            self._check(job, {"resourceVersion": version})
        part = "status" if subresource == "status" else "spec"
        job[part] = _merge(job.get(part, {}), body.get(part, {}))
        self.patches.append((name, body))
        return self._store("MODIFIED", job)

    def _check(self, job: Job, preconditions: Job) -> None:
        for key, value in preconditions.items():
            if job["metadata"][key] != value:
                raise Refusal(409, f"the {key} in the precondition does not match")

    def changes_after(self, version: int, seconds: float) -> list[tuple[int, str, Job]]:
        """Events after *version*, once there are some or *seconds* have passed."""
        with self._lock:
            self._lock.wait_for(
                lambda: self.closed or any(event[0] > version for event in self.events), seconds
            )
            return [] if self.closed else [e for e in self.events if e[0] > version]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        address: tuple[str, int],
        handler: Any,
        context: ssl.SSLContext,
        on_connection: Callable[[], None],
    ) -> None:
        super().__init__(address, handler)
        self._context, self._on_connection = context, on_connection

    def finish_request(self, request: Any, client_address: Any) -> None:
        self._on_connection()
        # The handshake in the connection's own thread: a client that waits holds up no other.
        try:
            with self._context.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)
        except (OSError, ssl.SSLError):
            pass  # a client that hangs up is none of the test's business


def _handler(api: FakeApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def handle_any(self) -> None:
            url = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            if query.get("watch") in {"1", "true"}:
                self.watch(query)
                return
            try:
                status, answer = 200, api.answer(self.command, url.path, body)
                if url.path == JOBS and (selector := query.get("fieldSelector")):
                    selection = Selection(selector, api)
                    answer["items"] = [job for job in answer["items"] if selection.has(job)]
            except Refusal as refusal:
                status = refusal.status
                answer = {"kind": "Status", "code": status, "message": str(refusal)}
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def watch(self, query: dict[str, str]) -> None:
            version = int(query["resourceVersion"])
            selection = Selection(query.get("fieldSelector", ""), api)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            end = time.monotonic() + float(query.get("timeoutSeconds", 60))
            while (left := end - time.monotonic()) > 0 and not api.closed:
                for number, kind, job in api.changes_after(version, left):
                    version = number
                    if told := selection.told(kind, job):
                        line = json.dumps({"type": told, "object": job}).encode() + b"\n"
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                        self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815 (http.server's names)

    return Handler


class Selection:
    """A field selector: ``path=value`` and ``path!=value``, all of which have to hold."""

    def __init__(self, selector: str, api: FakeApi) -> None:
        parts = [part.partition("=") for part in selector.split(",") if part]
        self._wanted = [
            (path.removesuffix("!").split("."), value, not path.endswith("!"))
            for path, _, value in parts
        ]
        self._shown = {j["metadata"]["uid"] for j in list(api.jobs.values()) if self.has(j)}

    def has(self, job: Job) -> bool:
        return all((_field(job, path) == value) is same for path, value, same in self._wanted)

    def told(self, kind: str, job: Job) -> str | None:
        """As what the event is told; an object that leaves the selection looks deleted."""
        if not self._wanted:
            return kind
        uid = job["metadata"]["uid"]
        if kind != "DELETED" and self.has(job):
            told = kind if uid in self._shown else "ADDED"
            self._shown.add(uid)
            return told
        if uid in self._shown:
            self._shown.discard(uid)
            return "DELETED"
        return None


def _field(job: Job, path: list[str]) -> str:
    value: Any = job
    for key in path:
        value = value.get(key) or {}
    return str(value or "")


def make_job(name: str, status: Job | None = None, **spec: Any) -> Job:
    """A WpsJob as the API server holds it, with the defaults of its schema."""
    defaults = {
        "version": "1.0.0",
        "queue": "default",
        "priority": 0,
        "suspend": False,
        "cancel": False,
        "retries": 0,
    }
    job: Job = {
        "apiVersion": API_VERSION,
        "kind": "WpsJob",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": str(uuid4()),
            "resourceVersion": "0",
            "creationTimestamp": "2026-01-31T09:30:00Z",
        },
        "spec": {**defaults, **spec},
    }
    if status is not None:
        job["status"] = status
    return job


def make_certificate(directory: Path) -> Path:
    """A certificate for 127.0.0.1 with its key, in one file, which is also its own authority."""
    path = directory / "server.pem"
    if path.exists():
        return path
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (directory / "ca.crt").write_bytes(pem)
    (directory / "token").write_text("test-token")
    path.write_bytes(
        pem
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


def _merge(old: Job, patch: Job) -> Job:
    """JSON merge patch (RFC 7386)."""
    merged = dict(old)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = _merge(merged.get(key) or {}, value)
        else:
            merged[key] = value
    return merged
