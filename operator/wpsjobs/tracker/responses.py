"""The response of a task: a file in its directory, with its MIME type beside it.

``<path_task>/<id>/response.json`` names the file, so that content and MIME type change at once.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from uuid import uuid4

from wpsjobs.eoxserver.files import StorageError, write_atomic

DESCRIPTION = "response.json"
_READS = 5
"""While a response is read, another one may take its place."""


def write_response(folder: Path, response: str | bytes, mime_type: str) -> None:
    """Make *response* that of the task whose directory *folder* is. Raises StorageError."""
    is_text = isinstance(response, str)
    data = response.encode("utf-8", "surrogatepass") if isinstance(response, str) else response
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"a response is text or bytes, not {type(response).__name__}")
    before = _description(folder)
    name = f"response-{uuid4().hex}"
    description = {"file": name, "mimeType": mime_type, "text": is_text}
    write_atomic(folder / name, bytes(data), sync=True)
    write_atomic(folder / DESCRIPTION, json.dumps(description).encode(), sync=True)
    if before is not None:
        with contextlib.suppress(OSError):
            (folder / before["file"]).unlink()


def read_response(folder: Path) -> tuple[str | bytes, str] | None:
    """The response, as it was stored, and its MIME type; None where there is none."""
    for _ in range(_READS):
        description = _description(folder)
        if description is None:
            return None
        try:
            data = (folder / Path(description["file"]).name).read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StorageError(f"The response cannot be read: {error}") from error
        text = data.decode("utf-8", "surrogatepass") if description["text"] else data
        return text, str(description["mimeType"])
    raise StorageError(f"The response that {folder / DESCRIPTION} names is not there.")


def _description(folder: Path) -> dict[str, str] | None:
    try:
        return dict(json.loads((folder / DESCRIPTION).read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StorageError(f"{folder / DESCRIPTION} cannot be read: {error}") from error
