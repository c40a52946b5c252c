"""Names of resources and job identifiers."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wpsjobs.api.names import (
    MAX_JOB_ID_LENGTH,
    MAX_RESOURCE_NAME_LENGTH,
    is_valid_job_id,
    kubernetes_job_name,
    resource_name,
)

DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
IDS = st.text(string.ascii_letters + string.digits + "_.-", min_size=1, max_size=140)
ANYTHING = st.text(max_size=200) | IDS


@given(ANYTHING)
def test_a_resource_name_is_a_dns_label_of_at_most_40_characters(job_id: str) -> None:
    name = resource_name(job_id)
    assert DNS_LABEL.fullmatch(name)
    assert len(name) <= MAX_RESOURCE_NAME_LENGTH == 40


@given(st.from_regex(DNS_LABEL, fullmatch=True))
def test_a_dns_label_that_fits_is_kept(job_id: str) -> None:
    assume(job_id.isascii())
    assert (resource_name(job_id) == job_id) is (len(job_id) <= 40)


@given(ANYTHING, ANYTHING)
def test_two_identifiers_have_two_names(one: str, other: str) -> None:
    assert (resource_name(one) == resource_name(other)) is (one == other)


@pytest.mark.parametrize("other", ["Abc", "abc ", "abc.", "a_bc", "abc-", "-abc", "äbc", "abc\n"])
def test_near_misses_of_a_dns_label_have_names_of_their_own(other: str) -> None:
    assert re.fullmatch(r"job-[0-9a-f]{32}", resource_name(other))


@pytest.mark.parametrize(
    "job_id", ["a", "A", "0", "_", "a.b", "a-b_c.d", "x" * MAX_JOB_ID_LENGTH, "1e3"]
)
def test_valid_job_identifiers(job_id: str) -> None:
    assert is_valid_job_id(job_id)


@pytest.mark.parametrize(
    "job_id",
    [
        "",
        ".",
        "..",
        "-a",
        ".a",
        "a/b",
        "a\\b",
        "a b",
        "a\n",
        "ä",
        "a\0",
        "x" * 129,
        "%2e%2e",
        "a:b",
    ],
)
def test_what_is_no_path_segment_is_no_job_identifier(job_id: str) -> None:
    assert not is_valid_job_id(job_id)


@given(ANYTHING)
def test_a_valid_job_identifier_is_one_path_segment(job_id: str) -> None:
    if is_valid_job_id(job_id):
        assert job_id not in (".", "..")
        assert not set(job_id) & set("/\\\0 \n")


@given(IDS, st.integers(1, 99_999))
def test_the_name_of_a_kubernetes_job_leaves_room_for_parts_and_pods(
    job_id: str, attempt: int
) -> None:
    name = kubernetes_job_name(resource_name(job_id), attempt)
    assert len(f"{name}-p10000-abcde") <= 63
    assert name.endswith(f"-{attempt}")
