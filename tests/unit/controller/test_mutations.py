"""The storm of ``test_simulation`` notices when a rule is broken: here each is, in turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.unit.controller import simulation
from tests.unit.controller.mutation import Mutation, is_noticed
from tests.unit.controller.objects import NOW
from tests.unit.controller.test_simulation import Storm
from wpsjobs.api.metadata import Metadata
from wpsjobs.api.origin import Unit
from wpsjobs.api.parts import Parts
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.controller import admission, attempts, decisions, fanout, lifecycle, served
from wpsjobs.controller.actions import Launch, PatchStatus
from wpsjobs.controller.apply import Applier
from wpsjobs.controller.children import Attempt
from wpsjobs.controller.transitions import Transition, transit
from wpsjobs.controller.view import Holder, View


def slots_by_pods_alone(patch: pytest.MonkeyPatch) -> None:
    def held_slots(self: View, queue: str) -> dict[Unit, Holder]:
        return {
            unit: Holder(origin.process, origin.owner)
            for unit, origin in self._units_able_to_run.items()
            if origin.queue == queue
        }

    patch.setattr(View, "held_slots", held_slots)


def whose_pods_of_deleted_wpsjobs_are_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    original = View.held_slots

    def held_slots(self: View, queue: str) -> dict[Unit, Holder]:
        there = {job.metadata.name for job in self.of_queue(queue)}
        nobody = Holder("", None)
        held = original(self, queue).items()
        return {unit: holder if unit[0] in there else nobody for unit, holder in held}

    patch.setattr(View, "held_slots", held_slots)


def one_slot_too_many(patch: pytest.MonkeyPatch) -> None:
    original = admission._Slots.take

    def take(self: Any, job: WpsJob, credit: int = 0) -> bool:
        self._counts.total -= 1
        try:
            return original(self, job, credit)
        finally:
            self._counts.total += 1

    patch.setattr(admission._Slots, "take", take)


def one_place_too_many(patch: pytest.MonkeyPatch) -> None:
    original = admission._Waiting.enter

    def enter(self: Any, job: WpsJob) -> str | None:
        self._counts.total -= 1
        try:
            return original(self, job)
        finally:
            self._counts.total += 1

    patch.setattr(admission._Waiting, "enter", enter)


def last_in_first_out(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(admission, "order", lambda job: (-job.spec.priority, 0, -job.sequence))


def priorities_are_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(admission, "order", lambda job: (0, 0 if job.status.attempt else 1, job.sequence))


def limits_of_processes_and_owners_are_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(admission._Counts, "exceeded", lambda *_: None)


def order_of_the_last_change(patch: pytest.MonkeyPatch) -> None:
    def stamped_late(job: WpsJob, to: Transition, now: datetime) -> PatchStatus:
        action = transit(job, to, now)
        fields = {**action.patch, "sequence": job.metadata.resource_version}
        return PatchStatus(job, fields, action.milestone)

    patch.setattr(lifecycle, "transit", stamped_late)


def no_wait_for_the_old_pod(patch: pytest.MonkeyPatch) -> None:
    def can_run(self: Attempt) -> bool:
        return self.job is not None and not self.job.finished and not self.pods

    patch.setattr(Attempt, "can_run", property(can_run))


def kubernetes_job_first(patch: pytest.MonkeyPatch) -> None:
    async def launch(self: Any, action: Launch) -> None:
        for manifest in action.manifests:
            self._state.kubernetes_jobs.put(await self._cluster.create_kubernetes_job(manifest))
        if action.admission is not None:
            await self._patch(action.admission)

    patch.setattr(Applier, "_launch", launch)


def patches_without_precondition(patch: pytest.MonkeyPatch) -> None:
    async def patch_status(
        self: Any, kind: Any, metadata: Metadata, status: Mapping[str, Any]
    ) -> Any:
        return await self._write(lambda: self.server.patch(kind, metadata.name, "status", status))

    patch.setattr(simulation.Client, "patch_status", patch_status)


def expiry_too_early(patch: pytest.MonkeyPatch) -> None:
    original = lifecycle.expire

    def expire(view: View, job: WpsJob, now: datetime, plan: Any) -> None:
        original(view, job, now + timedelta(seconds=40), plan)

    patch.setattr(lifecycle, "expire", expire)


def no_expiry(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lifecycle, "expire", lambda *_: None)


def no_clean_up(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decisions, "_clean_up", lambda *_: None)


def a_taken_slot_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(attempts, "_begin", lambda *_: [])


def no_rewrite_at_a_takeover(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(served, "take_over", lambda *_: [])


def merged_before_all_parts_are_done(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Parts, "complete", property(lambda self: len(self.succeeded) >= self.total - 1))


def parts_do_not_take_turns(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(admission, "_turn", lambda turn: (0, NOW, turn.job.sequence))


def parts_that_ended_are_launched_again(patch: pytest.MonkeyPatch) -> None:
    original = fanout._to_launch

    def to_launch(parts: Parts) -> Iterator[int]:
        return original(replace(parts, succeeded=frozenset()))

    patch.setattr(fanout, "_to_launch", to_launch)


def slots_of_parts_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    original = View.held_slots

    def held_slots(self: View, queue: str) -> dict[Unit, Holder]:
        return {(name, None): holder for (name, _), holder in original(self, queue).items()}

    patch.setattr(View, "held_slots", held_slots)


def the_own_limit_of_a_fan_out_is_ignored(patch: pytest.MonkeyPatch) -> None:
    for module in (admission, fanout):
        patch.setattr(module, "total_wanted", lambda job: len(job.spec.parts))


def parts_are_not_written_down_before(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Parts, "launched", lambda self, _indexes, at: replace(self, launched_at=at))


def other_parts_are_not_waited_for(patch: pytest.MonkeyPatch) -> None:
    original = fanout._conclude

    def attend(view: View, found: Any, index: int, attempt: Attempt, ending: bool, *_: Any) -> None:
        if ending:
            original(view, found, index, attempt, ending)

    patch.setattr(fanout, "_attend", attend)


# Not among them: slots counted by the status alone (test_admission notices it; the storm only now
# and then), and old news taken for new, from which the preconditions of all patches save us.
CAUGHT: list[Mutation] = [
    slots_by_pods_alone,
    whose_pods_of_deleted_wpsjobs_are_is_forgotten,
    one_slot_too_many,
    one_place_too_many,
    last_in_first_out,
    priorities_are_ignored,
    limits_of_processes_and_owners_are_ignored,
    order_of_the_last_change,
    no_wait_for_the_old_pod,
    kubernetes_job_first,
    patches_without_precondition,
    expiry_too_early,
    no_expiry,
    no_clean_up,
    a_taken_slot_is_forgotten,
    no_rewrite_at_a_takeover,
    merged_before_all_parts_are_done,
    parts_do_not_take_turns,
    parts_that_ended_are_launched_again,
    slots_of_parts_are_not_counted,
    the_own_limit_of_a_fan_out_is_ignored,
    parts_are_not_written_down_before,
    other_parts_are_not_waited_for,
]


@pytest.mark.parametrize("mutation", CAUGHT, ids=lambda mutation: mutation.__name__)
def test_the_storm_notices_a_broken_rule(
    mutation: Mutation, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutation(monkeypatch)
    is_noticed(Storm)
