"""Events: in order, with the times of what they tell, and at a pace under a storm."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from tests.unit.controller.objects import wpsjob
from wpsjobs.api.metadata import Metadata
from wpsjobs.controller import announcer
from wpsjobs.controller.actions import Milestone
from wpsjobs.controller.announcer import Announcer
from wpsjobs.controller.cluster import ClusterError

JOB = wpsjob("a")


class Posted:
    """In the place of the API server: what was posted, and when."""

    def __init__(self, under_way: int) -> None:
        self.under_way = under_way
        self.events: list[tuple[str, datetime, datetime]] = []

    async def post_event(self, _: Metadata, milestone: Milestone, at: datetime) -> None:
        self.events.append((milestone.message, at, datetime.now(UTC)))
        if milestone.message == "refused":
            raise ClusterError("no Events here")


async def _told(count: int, seconds: float, *first: str, under_way: int = 0) -> Posted:
    posted = Posted(under_way)
    teller = Announcer(posted)  # type: ignore[arg-type]
    for message in [*first, *map(str, range(count))]:
        teller.tell(JOB, Milestone("Started", message, warning=False))
    running = asyncio.create_task(teller.run())
    await asyncio.wait([running], timeout=seconds)
    running.cancel()
    await asyncio.wait([running])
    return posted


async def test_all_are_posted_while_there_is_time_and_a_refused_one_ends_nothing() -> None:
    count = 3 * announcer.BURST
    posted = await _told(count, 1.0, "refused", under_way=announcer.BUSY_REQUESTS - 1)
    assert [message for message, *_ in posted.events] == ["refused", *map(str, range(count))]


async def test_a_storm_is_posted_at_a_pace_with_the_times_of_what_is_told() -> None:
    began = datetime.now(UTC)
    posted = await _told(3 * announcer.BURST, 1.0, under_way=announcer.BUSY_REQUESTS)
    most = announcer.BURST * (1 + 1.5 / announcer.BURST_SECONDS)
    assert announcer.BURST < len(posted.events) < most
    message, told_at, posted_at = posted.events[-1]
    assert int(message) >= announcer.BURST
    assert told_at - began < timedelta(seconds=0.5) < posted_at - began


async def test_of_more_than_can_wait_the_oldest_are_dropped() -> None:
    more = 5
    count = announcer.MOST_WAITING + more
    posted = await _told(count, 3.0)
    assert [message for message, *_ in posted.events] == [str(n) for n in range(more, count)]
