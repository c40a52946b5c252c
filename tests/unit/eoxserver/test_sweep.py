"""Which directories may go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wpsjobs.eoxserver.storage import Marker
from wpsjobs.eoxserver.sweep import GRACE_SECONDS, Found, decide

HERE = "uid"


def found(name: str, age: float = 1e6, uid: str = HERE, expired: bool = False) -> Found:
    return Found(Marker(uid, name, name, "Echo", f"submission-{name}"), age, expired)


FOUND = st.lists(
    st.builds(
        found,
        st.integers(0, 60).map(str),
        st.sampled_from([0.0, GRACE_SECONDS - 1, GRACE_SECONDS, 1e6]),
        st.sampled_from([HERE, "other"]),
        st.booleans(),
    ),
    max_size=60,
    unique_by=lambda item: item.marker.id,
)
NAMES = st.sets(st.integers(0, 60).map(str))


@given(FOUND, NAMES, NAMES, st.booleans())
def test_only_own_old_jobs_absent_twice_are_ever_removed(
    items: list[Found], present: set[str], absent: set[str], allow_mass: bool
) -> None:
    jobs = dict.fromkeys(present)
    sweep = decide(items, jobs, absent, HERE, allow_mass=allow_mass)
    by_id = {item.marker.id: item for item in items}
    for marker in sweep.remove:
        assert marker.namespace_uid == HERE
        assert marker.name not in present
        assert marker.id in absent
        assert by_id[marker.id].age >= GRACE_SECONDS


@given(FOUND, NAMES, NAMES)
def test_unasked_no_mass_of_unexpired_jobs_is_removed(
    items: list[Found], present: set[str], absent: set[str]
) -> None:
    sweep = decide(items, dict.fromkeys(present), absent, HERE)
    by_id = {item.marker.id: item for item in items}
    unexpired = [marker for marker in sweep.remove if not by_id[marker.id].expired]
    own = [item for item in items if item.marker.namespace_uid == HERE]
    assert len(unexpired) < 10 or len(unexpired) <= len(own) / 10


def test_a_small_part_of_many_is_removed() -> None:
    items = [found(str(number)) for number in range(200)]
    present = dict.fromkeys(str(number) for number in range(20, 200))
    absent = {str(number) for number in range(20)}

    assert len(decide(items, present, absent, HERE).remove) == 20


def test_a_tenth_and_one_more_is_refused() -> None:
    items = [found(str(number)) for number in range(200)]
    present = dict.fromkeys(str(number) for number in range(21, 200))
    absent = {str(number) for number in range(21)}
    sweep = decide(items, present, absent, HERE)

    assert sweep.remove == ()
    assert sweep.refusal is not None
    assert "--allow-mass-removal" in sweep.refusal
