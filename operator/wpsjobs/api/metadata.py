"""What all objects of Kubernetes have in common."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from wpsjobs.api.fields import Fields, Raw


@dataclass(frozen=True)
class Metadata:
    """What WpsJobs needs of an object's ``metadata``."""

    name: str
    namespace: str
    uid: str
    resource_version: int
    created_at: datetime | None
    deletion_due: datetime | None
    """Where it is being deleted: when its grace period ends."""
    generation: int

    @property
    def deleting(self) -> bool:
        """Whether it is being deleted."""
        return self.deletion_due is not None

    @property
    def key(self) -> str:
        """``namespace/name``, for logs and messages."""
        return f"{self.namespace}/{self.name}"

    @classmethod
    def from_raw(cls, raw: Raw) -> Metadata:
        """Raises KeyError or ValueError where *raw* is no object of an API server."""
        metadata: Raw = raw["metadata"]
        fields = Fields(metadata)
        return cls(
            name=metadata["name"],
            namespace=metadata.get("namespace", ""),
            uid=metadata["uid"],
            resource_version=int(metadata["resourceVersion"]),
            created_at=fields.time("creationTimestamp"),
            deletion_due=fields.time("deletionTimestamp"),
            generation=fields.integer("generation") or 0,
        )
