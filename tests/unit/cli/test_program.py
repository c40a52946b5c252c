"""The program without a cluster: help, completion, wrong words, and a cluster that is not there."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from wpsjobs.api.names import resource_name
from wpsjobs.api.origin import Origin
from wpsjobs.api.request import ExecuteRequest, Input
from wpsjobs.cli import completion
from wpsjobs.cli.app import app
from wpsjobs.cli.cluster import job_name
from wpsjobs.cli.commands.submit import Order, build_body
from wpsjobs.cli.commands.top import quantity, usage
from wpsjobs.cli.errors import ExitCode

COMMANDS = (
    *("submit", "list", "status", "logs", "result", "suspend", "resume", "cancel", "retry"),
    *("queue", "queue show", "queue hold", "queue release", "top"),
)


def run(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(words))
    assert not isinstance(done.exception, Exception) or isinstance(done.exception, SystemExit)
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A kubeconfig of a cluster where nobody listens."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        port = taken.getsockname()[1]
        path = tmp_path / "config"
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "here",
                    "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                    "users": [{"name": "u", "user": {"token": "t"}}],
                    "contexts": [
                        {"name": "here", "context": {"cluster": "c", "user": "u"}},
                        {"name": "there", "context": {"cluster": "c", "user": "u"}},
                    ],
                }
            )
        )
        yield str(path)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_with_kubectls_options(name: str) -> None:
    code, out, _ = run(*name.split(), "--help")
    assert code == 0
    for option in ("--namespace", "--context", "--kubeconfig", "--request-timeout"):
        assert option in out


@pytest.mark.parametrize(
    "words",
    [
        ["list"],
        ["status", "a"],
        ["submit", "Echo", "text=a"],
        ["logs", "a"],
        ["result", "a"],
        ["cancel", "a"],
        ["queue"],
        ["top"],
    ],
)
def test_an_api_server_that_is_away_is_one_line(words: list[str], kubeconfig: str) -> None:
    code, out, err = run(*words, "--kubeconfig", kubeconfig)
    assert code == ExitCode.CLUSTER
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("error: The API server at http://127.0.0.1:")
    assert "kubectl config current-context" in line


def test_a_kubeconfig_and_a_context_that_are_not_there(kubeconfig: str) -> None:
    code, _, err = run("list", "--kubeconfig", "/nowhere/config")
    assert (code, err.count("\n")) == (ExitCode.CLUSTER, 1)
    assert "kubectl config get-contexts" in err
    code, _, err = run("--kubeconfig", kubeconfig, "list", "--context", "nowhere")
    assert (code, err.count("\n")) == (ExitCode.CLUSTER, 1)
    assert "nowhere" in err


def test_options_of_kubectl_may_stand_before_the_command(kubeconfig: str) -> None:
    code, _, err = run("--kubeconfig", kubeconfig, "queue", "show", "night")
    assert code == ExitCode.CLUSTER
    assert "does not answer" in err


@pytest.mark.parametrize(
    "words",
    [
        ["submit", "Echo", "text"],
        ["submit", "Echo", "--wait", "-o", "json"],
        ["submit", "Echo", "--priority", "1", "--url", "http://127.0.0.1:9/ows"],
        ["submit", "Echo", "--id", "a/b"],
        ["status", "a", "--watch", "-o", "yaml"],
        ["status", "a", "--timeout", "3"],
        ["result", "a", "b", "--document"],
        ["list", "--phase", "Done"],
        ["list", "-o", "xml"],
        ["status"],
        ["nonsense"],
    ],
)
def test_wrong_words_are_a_usage_error(words: list[str], kubeconfig: str) -> None:
    code, out, err = run("--kubeconfig", kubeconfig, *words)
    assert code == ExitCode.USAGE
    assert out == ""
    assert err


@pytest.mark.parametrize(
    ("words", "expected", "directive"),
    [
        (["stat"], ["status"], ":4"),
        (["list", "--phase", "S"], ["Scheduled", "Started", "Succeeded"], ":4"),
        (["queue", "ho"], ["hold"], ":4"),
        (["status", "a", "--context", "th"], ["there"], ":4"),
        (["submit", ""], [], ":0"),
        (["result", "a", "-o", ""], [], ":0"),
    ],
)
def test_kubectl_is_told_completions(
    words: list[str],
    expected: list[str],
    directive: str,
    kubeconfig: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["kubectl_complete-wps", "--kubeconfig", kubeconfig, *words])
    for name in (completion.VARIABLE, "_TYPER_COMPLETE_ARGS", "_TYPER_COMPLETE_FISH_ACTION"):
        monkeypatch.setenv(name, "")  # so that what the program sets is taken back
    completion.for_kubectl()
    *found, last = capsys.readouterr().out.splitlines()
    assert [line.partition("\t")[0] for line in found] == expected
    assert last == directive


@pytest.mark.parametrize("typed", ["a-1", "wpsjob/a-1", "wj/a-1", "wpsjob.wps.eoxserver.org/a-1"])
def test_a_job_is_named_in_any_way(typed: str) -> None:
    assert job_name(typed) == "a-1"


def test_a_wps_job_identifier_finds_its_wpsjob() -> None:
    assert job_name("Run.7") == resource_name("Run.7") != "Run.7"


def test_the_wpsjob_has_the_shape_of_the_plugins() -> None:
    request = ExecuteRequest(inputs=(Input(id="text", data="a"),))
    order = Order("Echo", None, None, priority=2, timeout=60)
    body = build_body("Run.7", order, request, queue="night", user="ada")
    spec: dict[str, Any] = body["spec"]
    assert body["metadata"]["name"].startswith("job-")
    assert len(spec.pop("submission")) == 36
    assert spec == {
        "id": "Run.7",
        "process": "Echo",
        "version": "1.0.0",
        "queue": "night",
        "execute": {"inputs": [{"id": "text", "data": "a"}]},
        "owner": {"user": "ada"},
        "priority": 2,
        "timeoutSeconds": 60,
    }


def test_quantities_of_kubernetes() -> None:
    assert quantity("250m") == 0.25
    assert quantity("1500000n") == pytest.approx(0.0015)
    assert quantity("2Gi") == 2 * 2**30
    assert quantity("128974848") == 128974848
    assert quantity("1.5") == 1.5
    assert quantity("2Xi") is None
    assert quantity(None) is None


def test_use_is_that_of_the_workers_container_in_the_last_pod() -> None:
    def pod(name: str) -> dict[str, Any]:
        limits = {"limits": {"memory": "2Gi"}}
        containers = [{"name": "helper"}, {"name": "worker", "resources": limits}]
        return {
            "metadata": {"name": name, **Origin("a", "u", "default", 2).metadata()},
            "spec": {"nodeName": "n", "containers": containers},
        }

    used = [
        {"name": "helper", "usage": {"cpu": "9", "memory": "9Gi"}},
        {"name": "worker", "usage": {"cpu": "250m", "memory": "512Mi"}},
    ]
    metrics = [{"metadata": {"name": "a-2-x"}, "containers": used}]
    assert usage([pod("a-1-x"), pod("a-2-x")], metrics) == {
        "u": {
            "pod": "a-2-x",
            "node": "n",
            "cpu": 0.25,
            "cpuLimit": None,
            "memory": 512 * 2**20,
            "memoryLimit": 2 * 2**30,
        }
    }
