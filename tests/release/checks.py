"""What a check comes to, and the table of all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """Of one thing looked at."""

    OK = "ok"
    NOTE = "note"
    """Has to be put right before a release is tagged; until then it is as it should be."""
    REFUSED = "REFUSED"


@dataclass(frozen=True)
class Finding:
    """One line of the table."""

    what: str
    verdict: Verdict
    words: str
    """What was found; where it is refused, what to do."""


class BuildError(Exception):
    """Something could not be built; the message has the builder's words."""


def ok(what: str, words: str) -> Finding:
    return Finding(what, Verdict.OK, words)


def note(what: str, words: str) -> Finding:
    return Finding(what, Verdict.NOTE, words)


def refused(what: str, words: str) -> Finding:
    return Finding(what, Verdict.REFUSED, words)


def missing(what: str, lacking: Iterable[str], remedy: str, well: str) -> Finding:
    """Refuses where anything is *lacking*, with the *remedy*; says *well* otherwise."""
    names = sorted(lacking)
    return refused(what, f"{', '.join(names)}: {remedy}") if names else ok(what, well)


def table(findings: Sequence[Finding]) -> str:
    """All findings in columns."""
    width = max(len(finding.what) for finding in findings)
    return "\n".join(
        f"{finding.verdict:<8} {finding.what:<{width}}  {finding.words}" for finding in findings
    )


def is_fit(findings: Sequence[Finding], *, final: bool) -> bool:
    """Whether a release may be made of it; *final* counts the notes, too."""
    bad = {Verdict.REFUSED, Verdict.NOTE} if final else {Verdict.REFUSED}
    return not any(finding.verdict in bad for finding in findings)
