"""A desk's set-up on this machine: up, seen, down, and nothing left."""

import json
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.flows.conftest import ROOT, Perpflow
from tests.flows.test_run import all_gone

pytestmark = pytest.mark.slow


def test_up_registers_every_deployment_and_down_leaves_nothing(perpflow: Perpflow, tmp_path: Path) -> None:
    home = tmp_path / "home"
    try:
        started = perpflow("up", "--port", "0", "--json")
        assert started.code == 0, started.stderr
        assert started.json["running"] is True
        again = perpflow("up", "--port", "0", "--json").json
        assert again["ui"] == started.json["ui"]
        assert perpflow("status", "--json").json["worker"] is True
        ask = urllib.request.Request(f"{again['ui']}/api/deployments/filter", data=b"{}", method="POST")
        ask.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(ask) as reply:
            registered = {deployment["name"] for deployment in json.load(reply)}
        declared = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
        assert registered == {deployment["name"] for deployment in declared}
    finally:
        stopped = perpflow("down", "--json")
    assert stopped.json["running"] is False
    assert all_gone(home)
    assert perpflow("status", "--json").json["ui"] is None
