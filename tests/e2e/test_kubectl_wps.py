"""``kubectl wps``, typed by people with the usual roles, against a release of the tests' own.

The URL of its service leads nowhere, as that of a service within the cluster does for its users:
what they see of results comes through the housekeeper.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.cluster.settings import REPOSITORY, current_instance
from tests.deployment.release import Release
from tests.deployment.tools import apply, get, kubectl
from tests.e2e.person import Done, Person
from tests.e2e.wps import until
from wpsjobs.api.names import GROUP
from wpsjobs.api.phases import FINISHED
from wpsjobs.cli.errors import ExitCode

NAMESPACE = "e2e-cli"
QUEUES = ("default", "kept", "bare")
NOWHERE = "http://127.0.0.1:9"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SGR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(scope="module")
def service() -> Iterator[Release]:
    release = Release(namespace=NAMESPACE, node_port=30087)
    release.install(
        eoxserver={"url": NOWHERE},
        queues=[
            {"name": "default", "parallelism": 2, "maxQueued": 3},
            # The first one keeps pods and their logs for a while, these two do not.
            {"name": "kept", "keepPodsSeconds": 0, "keepLogs": True},
            {"name": "bare", "keepPodsSeconds": 0},
        ],
    )
    try:
        yield release
    finally:
        release.uninstall()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("people")


@pytest.fixture(scope="module")
def ada(service: Release, folder: Path) -> Person:
    """May edit."""
    person = Person.make("ada", NAMESPACE, folder, "edit")
    until(lambda: person.wps("queue", "hold", "bare").code == 0, "the aggregated right to edit")
    person.must("queue", "release", "bare")
    return person


@pytest.fixture(scope="module")
def viewer(service: Release, folder: Path) -> Person:
    """May look."""
    person = Person.make("viewer", NAMESPACE, folder, "view")
    until(lambda: person.wps("list").code == 0, "the aggregated right to view")
    return person


@pytest.fixture(autouse=True)
def released(ada: Person) -> Iterator[None]:
    """No WpsJob stays active, no queue stays held after a test.

    In this order: what a released queue launches would hold its slot while its pod ends.
    """
    yield
    unfinished = ",".join(f"status.phase!={phase}" for phase in FINISHED)
    kubectl("delete", f"wpsjobs.{GROUP}", "-n", NAMESPACE, f"--field-selector={unfinished}")
    body = '{"spec": {"suspend": false}}'
    kubectl("patch", f"wpsqueues.{GROUP}", *QUEUES, "-n", NAMESPACE, "--type=merge", "-p", body)


def submit(person: Person, *words: str) -> str:
    """The identifier of an accepted job, which is all that is printed."""
    out = person.must("submit", *words)
    (line,) = out.splitlines()
    assert UUID.fullmatch(line)
    return line


def finish(person: Person, job: str) -> Done:
    return person.wps("status", job, "--watch", "--timeout", "90")


def record(person: Person, job: str) -> dict[str, Any]:
    return dict(person.wps("status", job, "-o", "json").data)


def until_phase(job: str, phase: str) -> None:
    def now() -> str:
        return str(get(f"wpsjobs.{GROUP}", job, "-n", NAMESPACE).get("status", {}).get("phase"))

    until(lambda: now() == phase, f"{job} to be {phase}")


# submit


def test_a_job_of_kubectls_runs_to_its_end_with_a_result(ada: Person) -> None:
    job = submit(ada, "Echo", "text=grüß dich")
    done = finish(ada, job)
    assert (done.code, done.out.splitlines()[-1].split()[1]) == (0, "Succeeded")
    assert ada.must("result", job, "text") == "grüß dich\n"
    found = record(ada, job)
    assert found["owner"] == f"system:serviceaccount:{NAMESPACE}:ada"
    # Of a pod that has ended by the time it is seen, nobody has seen that it ran.
    phases = [entry["phase"] for entry in found["history"]]
    assert (phases[0], phases[-1]) == ("Scheduled", "Succeeded")


def test_a_failure_is_told_in_words_and_by_the_exit_code(ada: Person) -> None:
    done = ada.wps("submit", "Fail", "message=no luck", "--wait")
    assert done.code == ExitCode.JOB_FAILED
    assert re.search(r"error: The WpsJob '.*' is Failed \(ProcessError\): no luck", done.err)
    job = done.out.splitlines()[0]
    done = ada.wps("result", job)
    assert (done.code, done.out) == (ExitCode.JOB_FAILED, "")
    assert "no luck" in done.err
    assert "no luck" in ada.must("result", job, "--document")


def test_an_input_that_the_process_refuses_is_named(ada: Person) -> None:
    done = ada.wps("submit", "Sleep", "seconds=soon", "--wait")
    assert done.code == ExitCode.JOB_FAILED
    assert "seconds" in done.err


def test_an_unknown_process_is_refused_with_the_one_that_was_meant(ada: Person) -> None:
    before = ada.must("list", "-o", "json")
    done = ada.wps("submit", "Hilshade")
    assert (done.code, done.out) == (ExitCode.NOT_FOUND, "")
    assert "Did you mean Hillshade?" in done.err
    assert ada.must("list", "-o", "json") == before


def test_of_what_the_queue_refuses_nothing_is_left(ada: Person) -> None:
    ada.must("queue", "hold", "default")
    jobs = [submit(ada, "Echo", f"text={n}") for n in range(3)]
    done = ada.wps("submit", "Echo", "text=one too many")
    assert (done.code, done.out) == (ExitCode.REFUSED, "")
    assert "QueueFull" in done.err
    listed = ada.wps("list", "--active", "-o", "json").data
    assert [one["job"] for one in listed] == jobs
    assert [one["position"] for one in listed] == [1, 2, 3]


def test_files_standard_input_references_and_large_ones(ada: Person, tmp_path: Path) -> None:
    text = "Zwölf Boxkämpfer\n" * 20
    path = tmp_path / "text"
    path.write_text(text)
    ip = get("service", "wpsjobs-web", "-n", NAMESPACE)["spec"]["clusterIP"]
    fetched = requests.get("http://127.0.0.1:30087/healthz", timeout=30).content
    large = tmp_path / "large"
    large.write_text(text * 100)
    url = "http://127.0.0.1:30087/ows"

    jobs = {
        submit(ada, "Digest", f"text=@{path}"): text.encode(),
        submit(ada, "Digest", f"text=@http://{ip}/healthz"): fetched,
        submit(ada, "Digest", f"text=@{large}", "--url", url): large.read_bytes(),
    }
    piped = ada.wps("submit", "Digest", "text=@-", stdin=text)
    assert piped.code == 0, piped.err
    jobs[piped.out.strip()] = text.encode()
    for job, content in jobs.items():
        assert finish(ada, job).code == 0
        outputs = {one["output"]: one["value"] for one in ada.wps("result", job, "-o", "json").data}
        digest = hashlib.sha256(content).hexdigest()
        assert outputs == {"length": str(len(content)), "sha256": digest}

    done = ada.wps("submit", "Digest", f"text=@{large}")
    assert done.code == ExitCode.USAGE
    assert "--url" in done.err


def test_a_service_that_refuses_or_is_none(ada: Person) -> None:
    url = "http://127.0.0.1:30087/ows"
    done = ada.wps("submit", "Echo", "colour=red", "--url", url)
    assert done.code == ExitCode.REFUSED
    assert "InvalidParameterValue" in done.err
    done = ada.wps("submit", "Echo", "text=a", "--url", "http://127.0.0.1:30087/healthz")
    assert done.code in (ExitCode.REFUSED, ExitCode.CLUSTER)
    assert "WPS" in done.err
    done = ada.wps("submit", "Echo", "text=a", "--url", f"{NOWHERE}/ows")
    assert done.code == ExitCode.CLUSTER
    assert NOWHERE in done.err


def test_identifier_queue_priority_and_timeout(ada: Person) -> None:
    ada.must("queue", "hold", "kept")
    words = ("Echo", "text=a", "--queue", "kept")
    assert ada.must("submit", *words, "--id", "Run.7") == "Run.7\n"
    ada.must("submit", *words, "--id", "urgent", "--priority", "3", "--timeout", "77")
    assert ada.wps("submit", *words, "--id", "urgent").code == ExitCode.CLUSTER
    shown = ada.wps("queue", "show", "kept", "-o", "json").data
    assert (shown["held"], shown["waiting"]) == (True, ["urgent", "Run.7"])
    assert get(f"wpsjobs.{GROUP}", "urgent", "-n", NAMESPACE)["spec"]["timeoutSeconds"] == 77
    ada.must("queue", "release", "kept")
    assert finish(ada, "Run.7").code == 0


# list, status


def test_the_list_is_filtered(ada: Person) -> None:
    job = submit(ada, "Echo", "text=a")
    finish(ada, job)
    ada.must("queue", "hold", "bare")
    waiting = submit(ada, "Sleep", "seconds=1", "--queue", "bare")

    def names(*words: str) -> list[str]:
        return [one["job"] for one in ada.wps("list", *words, "-o", "json").data]

    assert waiting in names("--phase", "accepted")
    assert job not in names("--active")
    assert job in names("--process", "Echo", "--phase", "Succeeded", "--phase", "Failed")
    assert names("--queue", "bare", "--active") == [waiting]
    assert {job, waiting} <= set(names("--owner", f"system:serviceaccount:{NAMESPACE}:ada"))
    assert names("--owner", "nobody") == []
    head, *rows = ada.must("list").splitlines()
    expected = ["JOB", "PROCESS", "PHASE", "PROGRESS", "QUEUE", "PLACE", "STARTS", "IN"]
    assert head.split()[:8] == expected
    assert any(row.startswith(f"{job}   Echo      Succeeded") for row in rows)
    empty = ada.wps("list", "--owner", "nobody")
    assert (empty.code, empty.out) == (0, "")
    assert "There are no WpsJobs of that kind" in empty.err


def test_a_narrow_terminal_shows_whole_identifiers(ada: Person) -> None:
    job = submit(ada, "Echo", "text=a")
    finish(ada, job)
    seen = {}
    for words in (("list",), ("status", job), ("top",), ("result", job)):
        seen[words] = SGR.sub("", ada.at_terminal(*words, columns=60).out)
        assert max(len(line.rstrip()) for line in seen[words].splitlines()) <= 60, words
    assert job in seen["list",]
    assert "QUEUE" not in seen["list",]
    assert "QUEUE" in SGR.sub("", ada.at_terminal("list", columns=200).out)


def test_a_watched_job_has_a_progress_bar_and_a_history(ada: Person) -> None:
    job = submit(ada, "Sleep", "seconds=3")
    done = ada.at_terminal("status", job, "--watch", columns=100)
    assert done.code == 0
    seen = SGR.sub("", done.out)
    percents = [int(text) for text in re.findall(r"━ (\d+) %", seen)]
    assert percents == sorted(percents)
    assert len(set(percents)) > 2
    last = seen[seen.rindex("Job:") :]
    assert "Succeeded" in last
    assert re.search(r"History:\s+\d\d:\d\d:\d\d +Scheduled", last)


def test_into_a_pipe_goes_a_line_for_each_change(ada: Person) -> None:
    job = submit(ada, "Sleep", "seconds=2")
    done = finish(ada, job)
    lines = [line.split(maxsplit=2) for line in done.out.splitlines()]
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d", line[0]) for line in lines)
    assert lines[-1][1] == "Succeeded"
    assert any("slept for" in line[-1] for line in lines)
    assert "\x1b" not in done.out


def test_a_watch_that_takes_too_long_ends_and_the_job_goes_on(ada: Person) -> None:
    job = submit(ada, "Sleep", "seconds=300")
    done = ada.wps("status", job, "--watch", "--timeout", "2")
    assert done.code == ExitCode.TIMED_OUT
    assert job in done.err
    assert record(ada, job)["phase"] in ("Scheduled", "Started")


# logs


def test_the_log_of_a_running_pod_is_followed_to_its_end(ada: Person) -> None:
    job = submit(ada, "Sleep", "seconds=3")
    done = ada.wps("logs", job, "--follow")
    assert done.code == 0
    assert "SUCCEEDED" in done.out
    assert ada.must("logs", job) == done.out


def test_the_kept_log_where_the_pod_is_gone(ada: Person) -> None:
    job = submit(ada, "Fail", "message=kept words", "--queue", "kept")
    finish(ada, job)
    no_pods(job)
    assert "kept words" in ada.must("logs", job)
    assert ada.must("logs", job, "--attempt", "1", "-f") == ada.must("logs", job)
    done = ada.wps("logs", job, "--attempt", "2")
    assert done.code == ExitCode.NOT_FOUND
    assert "no attempt 2" in done.err


def test_a_log_that_nobody_kept(ada: Person) -> None:
    job = submit(ada, "Echo", "text=a", "--queue", "bare")
    finish(ada, job)
    no_pods(job)
    done = ada.wps("logs", job)
    assert (done.code, done.out) == (ExitCode.NOT_FOUND, "")
    assert "keepLogs" in done.err
    # What it says to do can be done.
    (advice,) = re.findall(r"kubectl patch wpsqueue (\S+) -n (\S+)", done.err)
    assert advice == ("bare", NAMESPACE)


def test_a_job_that_waits_has_no_log_yet(ada: Person) -> None:
    ada.must("queue", "hold", "default")
    job = submit(ada, "Echo", "text=a")
    done = ada.wps("logs", job)
    assert done.code == ExitCode.WRONG_PHASE
    assert "has not had an attempt" in done.err
    following = ada.start("logs", job, "-f")
    ada.must("queue", "release", "default")
    out, err = following.communicate(timeout=90)
    assert "SUCCEEDED" in out
    assert "waiting for it to start" in err


def no_pods(job: str) -> None:
    selector = f"wps.eoxserver.org/job={job}"
    until(lambda: not get("pods", "-n", NAMESPACE, "-l", selector)["items"], "the pod to go")


# result


def test_results_are_shown_and_downloaded_through_the_housekeeper(
    ada: Person, tmp_path: Path
) -> None:
    job = submit(ada, "NDVI")
    early = ada.wps("result", job)
    assert early.code == ExitCode.WRONG_PHASE
    assert "--watch" in early.err
    assert finish(ada, job).code == 0
    published = (current_instance().volumes / NAMESPACE / "perm" / job / "ndvi.tif").read_bytes()

    table = ada.must("result", job).splitlines()
    assert table[0].split() == ["OUTPUT", "KIND", "FORMAT", "VALUE"]
    assert table[1].split() == [
        "ndvi",
        "reference",
        "image/tiff",
        f"{NOWHERE}/results/{job}/ndvi.tif",
    ]
    assert -1 < float(ada.must("result", job, "mean")) < 1

    done = ada.wps("result", job, "-o", str(tmp_path / "one.tif"))
    assert done.code == ExitCode.USAGE
    assert "ndvi, mean" in done.err
    ada.must("result", job, "ndvi", "-o", str(tmp_path / "one.tif"))
    assert (tmp_path / "one.tif").read_bytes() == published
    ada.must("result", job, "-o", f"{tmp_path}/all/")
    assert (tmp_path / "all" / "ndvi.tif").read_bytes() == published
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["mean.txt", "ndvi.tif"]
    assert "ProcessSucceeded" in ada.must("result", job, "--document")
    assert ada.wps("result", job, "nonsense").code == ExitCode.NOT_FOUND
    done = ada.wps("result", job, "ndvi", "-o", "/proc/nowhere/a.tif")
    assert done.code == ExitCode.CLUSTER
    assert "cannot be written" in done.err


# suspend, resume, cancel, retry


def test_a_job_is_suspended_resumed_cancelled_and_retried(ada: Person) -> None:
    job = submit(ada, "Sleep", "seconds=300")
    until_phase(job, "Started")
    assert ada.must("suspend", job) == f"{job} suspended\n"
    until_phase(job, "Paused")
    assert ada.must("suspend", job) == f"{job} is suspended already\n"
    assert ada.must("resume", f"wpsjob/{job}") == f"{job} resumed\n"
    until_phase(job, "Started")
    done = ada.wps("retry", job)
    assert done.code == ExitCode.WRONG_PHASE
    assert "kubectl wps cancel" in done.err
    assert ada.must("cancel", job) == f"{job} cancelled\n"
    assert finish(ada, job).code == ExitCode.JOB_FAILED
    assert record(ada, job)["phase"] == "Dismissed"
    done = ada.wps("cancel", job)
    assert done.code == ExitCode.WRONG_PHASE
    assert "kubectl delete wpsjob" in done.err
    assert ada.must("retry", job) == f"{job} is queued again\n"
    until_phase(job, "Started")
    assert record(ada, job)["attempt"] == 2


def test_a_watch_after_a_retry_is_of_the_new_attempt(ada: Person) -> None:
    job = submit(ada, "Echo", "text=a")
    finish(ada, job)
    ada.must("retry", job)
    assert finish(ada, job).code == 0
    assert record(ada, job)["attempt"] == 2


def test_one_of_several_that_fails_keeps_none_of_the_others(ada: Person) -> None:
    ada.must("queue", "hold", "default")
    jobs = [submit(ada, "Echo", "text=a") for _ in range(2)]
    done = ada.wps("cancel", jobs[0], "nonsense", jobs[1])
    assert done.code == ExitCode.NOT_FOUND
    assert "'nonsense'" in done.err
    for job in jobs:
        until_phase(job, "Dismissed")


# queue, top


def test_queues_are_shown_held_and_released(ada: Person) -> None:
    ada.must("queue", "hold", "default")
    job = submit(ada, "Echo", "text=a")
    shown = {one["name"]: one for one in ada.wps("queue", "-o", "json").data}
    assert shown["default"] | {"paused": 0} == {
        "name": "default",
        "held": True,
        "running": 0,
        "parallelism": 2,
        "queued": 1,
        "maxQueued": 3,
        "paused": 0,
        "waiting": [job],
    }
    table = ada.must("queue")
    assert re.search(rf"default +held +0/2 +1/3 +0 +{job}", table)
    assert "the queue is held: kubectl wps queue release default" in ada.must("status", job)
    assert job in ada.must("queue", "show", "default")
    ada.must("queue", "release", "default")
    assert finish(ada, job).code == 0
    done = ada.wps("queue", "hold", "nonsense")
    assert done.code == ExitCode.NOT_FOUND
    assert "kubectl wps queue" in done.err


def test_top_shows_what_runs(ada: Person) -> None:
    jobs = [submit(ada, "Sleep", "seconds=300") for _ in range(3)]
    for job in jobs[:2]:
        until_phase(job, "Started")
    found = ada.wps("top", "-o", "json").data
    (default,) = (one for one in found["queues"] if one["name"] == "default")
    assert (default["running"], default["queued"]) == (2, 1)
    assert {one["job"] for one in found["running"]} == set(jobs[:2])
    for one in found["running"]:
        assert one["pod"].startswith(one["job"])
        assert one["memoryLimit"] == 2 * 2**30
    done = ada.wps("top")
    assert re.search(r"default +2/2 +1/3", done.out)
    assert jobs[0] in done.out
    assert "no metrics API" in done.err


# rights


def test_who_may_view_sees_all_and_changes_nothing(ada: Person, viewer: Person) -> None:
    job = submit(ada, "Fail", "message=for all to see", "--queue", "kept")
    finish(ada, job)
    no_pods(job)
    for words in (("list",), ("status", job), ("queue",), ("top",), ("result", job, "--document")):
        assert viewer.wps(*words).code == 0
    assert "for all to see" in viewer.must("logs", job)
    for words in (("submit", "Echo", "text=a"), ("retry", job), ("queue", "hold", "kept")):
        done = viewer.wps(*words)
        assert (done.code, done.out) == (ExitCode.CLUSTER, ""), words
        assert re.search(r"error: You may not do this: .*forbidden.*role", done.err)


def test_the_role_for_users_in_the_documentation_is_enough_and_not_more(
    ada: Person, folder: Path
) -> None:
    text = (REPOSITORY / "docs" / "kubectl.md").read_text()
    (role,) = re.findall(r"```yaml\n(kind: Role\n.*?)```", text, re.DOTALL)
    apply_text = role.replace("kind: Role", "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role")
    kubectl("apply", "-n", NAMESPACE, "-f", "-", stdin=apply_text)
    user = Person.make("user", NAMESPACE, folder, None)
    apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "user", "namespace": NAMESPACE},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": "wps-user",
            },
            "subjects": [{"kind": "ServiceAccount", "name": "user", "namespace": NAMESPACE}],
        }
    )
    job = submit(user, "Echo", "text=a", "--queue", "kept")
    assert finish(user, job).code == 0
    no_pods(job)
    assert user.must("result", job, "text") == "a\n"
    for words in (("list",), ("logs", job), ("retry", job), ("queue",), ("top",)):
        assert user.wps(*words).code == 0, words
    assert user.wps("queue", "hold", "kept").code == ExitCode.CLUSTER
    for verb, what in (("create", "pods/exec"), ("get", "secrets"), ("patch", "wpsqueues")):
        assert user.run("kubectl", "auth", "can-i", verb, what).out.strip() == "no"
    path = f"/api/v1/namespaces/{NAMESPACE}/services/wpsjobs-web:http/proxy/ows"
    assert user.run("kubectl", "get", "--raw", path).code != 0


def test_who_has_no_rights_is_told_so(service: Release, folder: Path) -> None:
    nobody = Person.make("nobody", NAMESPACE, folder, None)
    for words in (("list",), ("queue",), ("submit", "Echo", "text=a"), ("status", "a")):
        done = nobody.wps(*words)
        assert (done.code, done.out) == (ExitCode.CLUSTER, "")
        assert "cannot" in done.err
        assert "Ask the administrator" in done.err


# completion


def test_kubectl_completes_the_plugin(ada: Person) -> None:
    job = submit(ada, "Echo", "text=a")

    def completed(*words: str) -> list[str]:
        done = ada.run("kubectl", "__complete", "wps", *words)
        *found, directive = done.out.splitlines()
        assert directive == ":4"
        return [line.partition("\t")[0] for line in found]

    assert completed("sub") == ["submit"]
    assert completed("submit", "NDV") == ["NDVI"]
    assert completed("status", job[:12]) == [job]
    assert completed("queue", "hold", "k") == ["kept"]
    assert completed("list", "--phase", "Acc") == ["Accepted"]
