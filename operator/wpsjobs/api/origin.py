"""What the Kubernetes Jobs and pods of a WpsJob say of where they come from.

Two labels to select them by, and one annotation for the rest: each label and each variable of a
pod costs the API server, the scheduler and the kubelet at every write of it (see
docs/decisions/0019-little-on-each-pod.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wpsjobs.api.names import ANNOTATION_ATTEMPT, LABEL_QUEUE, LABEL_WPSJOB

Unit = tuple[str, int | None]
"""What holds one slot: a WpsJob by its name, or one part of it."""


@dataclass(frozen=True)
class Origin:
    """Of which attempt of which WpsJob an object is."""

    wpsjob: str
    uid: str
    """The WpsJob's, for one of the same name may have been deleted before."""
    queue: str
    attempt: int
    part: int | None = None
    """Index of the part, where it is of one."""
    tried: int = 0
    """How often that part was launched before."""
    process: str = ""
    owner: str | None = None
    """Who owns the WpsJob, where that is known."""

    @property
    def unit(self) -> Unit:
        """For what it holds a slot."""
        return self.wpsjob, self.part

    def metadata(self) -> dict[str, dict[str, str]]:
        """The labels, by which people and programs select, and the annotation with the rest."""
        said: dict[str, Any] = {"uid": self.uid, "number": self.attempt, "process": self.process}
        if self.part is not None:
            said |= {"part": self.part, "try": self.tried}
        if self.owner is not None:
            said["owner"] = self.owner
        return {
            "labels": {LABEL_WPSJOB: self.wpsjob, LABEL_QUEUE: self.queue},
            "annotations": {ANNOTATION_ATTEMPT: json.dumps(said, ensure_ascii=False)},
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Origin:
        """Raises KeyError or ValueError where they are not what the operator sets."""
        labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
        try:
            said = json.loads(annotations[ANNOTATION_ATTEMPT])
            part, owner = said.get("part"), said.get("owner")
            return cls(
                wpsjob=labels[LABEL_WPSJOB],
                uid=str(said["uid"]),
                queue=labels[LABEL_QUEUE],
                attempt=int(said["number"]),
                part=None if part is None else int(part),
                tried=int(said.get("try", 0)),
                process=str(said.get("process", "")),
                owner=None if owner is None else str(owner),
            )
        except (AttributeError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError(f"{ANNOTATION_ATTEMPT} is malformed: {error}") from error
