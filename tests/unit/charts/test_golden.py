"""The chart's renderings, compared with ``golden/`` and shown to a real API server.

``WPSJOBS_RENEW_GOLDEN=1 pytest tests/unit/charts`` writes them anew after a change of the chart;
their diff is part of the review.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.deployment.tools import run
from tests.unit.charts.rendering import CASES, NAMESPACE, needs_helm, objects, rendered

pytestmark = needs_helm

GOLDEN = Path(__file__).with_name("golden")
FOREIGN = {"ServiceMonitor"}
"""Kinds whose definitions the test cluster lacks; tests/charts/test_monitoring.py brings them."""


def stable(text: str) -> str:
    """Without Django's secret, which is a new one each time."""
    return re.sub(r"(?m)^(  secretKey: ).+$", r"\1(random)", text)


@CASES
def test_the_rendering_is_as_it_was(case: str) -> None:
    path = GOLDEN / f"{case.replace(' ', '-')}.yaml"
    found = stable(rendered(case))
    if os.environ.get("WPSJOBS_RENEW_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(found)
    assert found == path.read_text()


def test_no_golden_rendering_is_left_over() -> None:
    names = {f"{case.replace(' ', '-')}.yaml" for case in CASES.args[1]}
    assert {path.name for path in GOLDEN.iterdir()} == names


@pytest.mark.cluster
@CASES
def test_the_api_server_takes_the_rendering(case: str) -> None:
    wanted = [
        one
        for one in objects(case)
        # The others would need namespaces that are not there.
        if one["metadata"].get("namespace", NAMESPACE) == NAMESPACE and one["kind"] not in FOREIGN
    ]
    body = json.dumps({"apiVersion": "v1", "kind": "List", "items": wanted})
    run(
        *("kubectl", "apply", "--server-side", "--dry-run=server", "--namespace", NAMESPACE),
        *("--validate=strict", "--force-conflicts", "-f", "-"),
        stdin=body,
    )
