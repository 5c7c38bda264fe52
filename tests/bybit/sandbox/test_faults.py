"""The faults: chosen by name, decided by seed, seen on the wire, and listed afterwards."""

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bybit.client import BybitClient
from bybit.rules.errors import InvalidInput
from bybit.sandbox import SandboxConfig
from bybit.sandbox.config import DEFAULT_KEY, DEFAULT_SECRET
from bybit.sandbox.faults import KINDS, STORM, Fault, FaultPlan, load_plan
from tests.bybit.sandbox.wire import Reply, ask
from tests.sandbox import running

NOW = datetime(2025, 3, 1, 12, 0, 30, tzinfo=UTC)
KLINE = {"category": "linear", "symbol": "BTCUSDT", "interval": "1", "limit": 20}


def schedule(folder: Path, *entries: dict[str, Any], **more: Any) -> Path:
    path = folder / "faults.json"
    path.write_text(json.dumps({"faults": list(entries), **more}))
    return path


@contextmanager
def troubled(folder: Path, *entries: dict[str, Any], **config: Any) -> Iterator[str]:
    settings = {"now": NOW, "speed": 0.0, "address_limit": None, **config}
    with running(SandboxConfig(faults=(schedule(folder, *entries),), **settings)) as base:
        yield base


def klines(base: str, **more: Any) -> Reply:
    return ask(base, "/v5/market/kline", **{**KLINE, **more})


def injected(base: str) -> list[str]:
    return [one["fault"] for one in ask(base, "/sandbox/faults").json["injected"]]


# Choosing


def test_a_name_alone_hits_one_request_in_twenty() -> None:
    plan = load_plan(["reset"])
    hits = [plan.of_request("GET", "/v5/market/kline", 0) for _ in range(10_000)]
    assert 400 < sum(hit is not None for hit in hits) < 600
    assert {hit.name for hit in hits if hit is not None} == {"reset"}


def test_a_name_takes_a_rate_and_storm_shares_its_own() -> None:
    assert load_plan(["latency=0.25"]).faults[0].rate == 0.25
    storm = load_plan(["storm=0.09"])
    assert [fault.name for fault in storm.faults] == list(STORM)
    assert sum(fault.rate for fault in storm.faults) == pytest.approx(0.09)


@pytest.mark.parametrize("name", ["earthquake", "reset=1.5", "reset=", "storm=2", "latency=0.1.2"])
def test_what_is_no_fault_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        load_plan([name])


def test_an_unknown_name_is_refused_with_the_list_of_those_there_are() -> None:
    with pytest.raises(InvalidInput) as refusal:
        SandboxConfig(faults=("earthquake",)).plan()
    assert all(name in str(refusal.value) for name in KINDS)


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"fault": "earthquake"},
        {"fault": "reset", "rate": "often"},
        {"fault": "reset", "rate": 2},
        {"fault": "reset", "rate": True},
        {"fault": "reset", "nth": 0},
        {"fault": "reset", "nth": [1, "2"]},
        {"fault": "reset", "nth": 1, "rate": 0.5},
        {"fault": "reset", "ms": 5},
        {"fault": "latency", "ms": -5},
        {"fault": "latency", "ms": "5"},
        {"fault": "server-error", "status": 404},
        {"fault": "rate-limit", "reset": "never"},
        {"fault": "reset", "path": 5},
        {"fault": "reset", "after_s": -1},
    ],
)
def test_a_schedule_with_an_entry_that_means_nothing_is_refused(tmp_path: Path, entry: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="entry 1 of"):
        load_plan([schedule(tmp_path, entry)])


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"faults": 1}', '{"faults": [], "sed": 1}', '{"faults": [], "seed": "x"}']
)
def test_a_file_that_is_no_schedule_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "faults.json"
    path.write_text(text)
    with pytest.raises(InvalidInput):
        load_plan([path])
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_plan([tmp_path / "absent.json"])


# Deciding


def test_the_same_seed_and_requests_meet_the_same_faults() -> None:
    def run(seed: int) -> list[str | None]:
        plan = load_plan(["reset=0.2", "html=0.2", "lost-answer=0.3"], seed)
        requests = [("GET", "/v5/market/kline"), ("POST", "/v5/order/create"), ("GET", "/v5/order/realtime")] * 50
        hits = [plan.of_request(method, path, now_ms * 17) for now_ms, (method, path) in enumerate(requests)]
        return [None if hit is None else hit.name for hit in hits]

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_a_fault_counts_only_what_it_applies_to() -> None:
    plan = FaultPlan([Fault("reset", nth=(2,), path="/v5/order/*", method="POST")])
    asked = [("POST", "/v5/order/create"), ("GET", "/v5/order/realtime"), ("POST", "/v5/position/set-leverage")]
    assert [plan.of_request(*one, 0) for one in asked] == [None, None, None]
    assert plan.of_request("POST", "/v5/order/cancel", 0) is plan.faults[0]
    assert plan.of_request("POST", "/v5/order/create", 0) is None


def test_a_fault_lasts_from_when_to_when_it_is_told() -> None:
    plan = FaultPlan([Fault("html", rate=1.0, after_s=10, for_s=5)])
    hits = [
        plan.of_request("GET", "/v5/market/time", at_ms) is not None for at_ms in (0, 9_999, 10_000, 14_999, 15_000)
    ]
    assert hits == [False, False, True, True, False]


def test_the_first_entry_that_hits_is_the_one_that_happens() -> None:
    plan = FaultPlan([Fault("html", nth=(2,)), Fault("reset", rate=1.0)])
    hits = [plan.of_request("GET", "/v5/market/time", 0) for _ in range(3)]
    assert [hit.name for hit in hits if hit is not None] == ["reset", "html", "reset"]


# On the wire


def test_a_venue_without_faults_lists_none() -> None:
    with running() as base:
        report = ask(base, "/sandbox/faults").json
        assert (report["faults"], report["n_injected"], report["injected"]) == ([], 0, [])
        assert set(report["kinds"]) == set(KINDS)
        assert ask(base, "/sandbox/faults", "POST").status == 405


def test_what_was_injected_is_listed_with_its_request(tmp_path: Path) -> None:
    with troubled(tmp_path, {"fault": "html", "nth": [2, 3]}, seed=7) as base:
        kinds = [klines(base).headers["content-type"].split(";")[0] for _ in range(4)]
        assert kinds == ["application/json", "text/html", "text/html", "application/json"]
        report = ask(base, "/sandbox/faults").json
    assert report["n_injected"] == 2
    time_ms = int(NOW.timestamp() * 1000)
    assert report["injected"][1] == {
        "number": 2,
        "time": time_ms,
        "fault": "html",
        "method": "GET",
        "path": "/v5/market/kline",
    }


def test_latency_delays_a_whole_reply(tmp_path: Path) -> None:
    with troubled(tmp_path, {"fault": "latency", "nth": 1, "ms": 300}) as base:
        began = time.monotonic()
        assert len(klines(base).rows) == 20
        assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize("name", ["reset", "timeout", "lost-answer"])
def test_a_reset_leaves_no_whole_reply(tmp_path: Path, name: str) -> None:
    settings = {"ms": 50} if name == "timeout" else {}
    with troubled(tmp_path, {"fault": name, "nth": 1, "method": "GET", **settings}) as base:
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            klines(base)
        assert len(klines(base).rows) == 20
        assert injected(base) == [name]


@pytest.mark.parametrize(
    "entry",
    [
        {"fault": "lost-answer"},
        {"fault": "reset"},
        {"fault": "timeout", "ms": 50, "applied": True},
        {"fault": "server-error", "applied": True},
    ],
)
def test_an_order_is_accepted_though_its_answer_is_lost(tmp_path: Path, entry: dict[str, Any]) -> None:
    fault = {**entry, "nth": 1, "path": "/v5/order/create", "method": "POST"}
    with (
        troubled(tmp_path, fault, now=None, speed=1.0) as base,
        BybitClient(DEFAULT_KEY, DEFAULT_SECRET, base_urls=[base]) as client,
    ):
        order = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.01"}
        price = round(client.get_tickers("linear", "BTCUSDT")[0].last_price * Decimal("0.9"))
        ack = client.place_order(**order, price=price)
        assert ack.was_lost
        assert [placed.order_id for placed in client.get_open_orders("linear", "BTCUSDT")] == [ack.order_id]
        assert injected(base) == [entry["fault"]]


def test_a_page_of_json_breaks_off_though_the_reply_is_whole(tmp_path: Path) -> None:
    with troubled(tmp_path, {"fault": "truncated-json", "nth": 1}) as base:
        reply = klines(base)
        assert reply.status == 200
        assert int(reply.headers["content-length"]) == len(reply.body)
        with pytest.raises(json.JSONDecodeError):
            _ = reply.json


def test_a_server_error_has_the_status_asked_for_and_no_envelope(tmp_path: Path) -> None:
    with troubled(tmp_path, {"fault": "server-error", "nth": 1, "status": 503}) as base:
        reply = klines(base)
        assert reply.status == 503
        assert reply.body.startswith(b"<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("reset", "least", "most"), [("soon", 1, 2_000), ("past", -120_000, -1), ("absurd", 3_600_000, 10**9)]
)
def test_the_account_limit_tells_when_it_resets(tmp_path: Path, reset: str, least: int, most: int) -> None:
    with troubled(tmp_path, {"fault": "rate-limit", "nth": 1, "reset": reset}) as base:
        reply = klines(base)
        assert (reply.status, reply.json["retCode"]) == (200, 10006)
        assert least <= int(reply.headers["x-bapi-limit-reset-timestamp"]) - reply.json["time"] <= most


def test_the_account_limit_may_lack_its_reset(tmp_path: Path) -> None:
    with troubled(tmp_path, {"fault": "rate-limit", "nth": 1, "reset": "missing"}) as base:
        assert "x-bapi-limit-reset-timestamp" not in klines(base).headers


def test_a_ban_lasts_ten_minutes_of_the_sandboxs_clock(tmp_path: Path) -> None:
    with troubled(tmp_path, {"fault": "ban", "nth": 2}) as base:
        assert klines(base).status == 200
        for reply in (klines(base), klines(base), ask(base, "/v5/market/time")):
            assert (reply.status, reply.body) == (403, b"access too frequent")
        assert ask(base, "/sandbox/faults").json["n_turned_away"] == 2
        assert injected(base) == ["ban"]


def test_a_ban_is_over_after_its_time_and_leaves_the_clock_within_reach(tmp_path: Path) -> None:
    with troubled(tmp_path, {"fault": "ban", "nth": 1}) as base:
        assert klines(base).status == 403
        for step_ms, status in ((599_999, 403), (1, 200)):
            assert ask(base, "/sandbox/clock", "POST", json.dumps({"advance_ms": step_ms}).encode()).status == 200
            assert klines(base).status == status


def test_the_venues_clock_runs_ahead_for_a_while(tmp_path: Path) -> None:
    entry = {"fault": "clock", "nth": 1, "path": "/v5/market/kline", "offset_ms": -20_000}
    now_s = int(NOW.timestamp())
    with troubled(tmp_path, entry) as base:
        assert ask(base, "/v5/market/time").json["result"]["timeSecond"] == str(now_s)
        klines(base)
        assert ask(base, "/v5/market/time").json["result"]["timeSecond"] == str(now_s - 20)


def opens(rows: list[Any]) -> list[int]:
    return [int(row[0]) for row in rows]


def test_pages_come_spoilt_in_their_several_ways(tmp_path: Path) -> None:
    kinds = ["duplicate-rows", "out-of-order", "short-page", "empty-page", "overlapping-page"]
    entries = [{"fault": kind, "nth": 2 + place} for place, kind in enumerate(kinds)]
    end_ms = int(NOW.timestamp() * 1000) - 3_600_000
    with troubled(tmp_path, *entries) as base:
        whole = opens(klines(base, end=end_ms).rows)
        # Each entry counts every page, so the n-th page meets the n-th fault.
        pages = [opens(klines(base, end=end_ms).rows) for _ in kinds[:4]]
        newer = opens(klines(base, start=end_ms + 60_000, end=end_ms + 20 * 60_000).rows)
        assert injected(base) == kinds
    assert len(whole) == 20
    assert sorted(set(pages[0]), reverse=True) == whole
    assert len(pages[0]) > 20
    assert sorted(pages[1], reverse=True) == whole
    assert pages[1] != whole
    assert pages[2] == whole[:10]
    assert pages[3] == []
    # What the page before held comes along, though it lies outside of what was asked.
    assert set(whole) < set(newer)
    assert len(set(newer) - set(whole)) == 19


def test_a_cursor_leads_to_its_own_page_for_ever(tmp_path: Path) -> None:
    entry = {"fault": "looping-cursor", "rate": 1.0, "path": "/v5/market/instruments-info"}
    with troubled(tmp_path, entry) as base:
        cursor, seen = "", []
        for _ in range(4):
            result = ask(base, "/v5/market/instruments-info", category="linear", limit=2, cursor=cursor).json["result"]
            seen.append([row["symbol"] for row in result["list"]])
            cursor = result["nextPageCursor"]
        assert seen[1] == seen[2] == seen[3] != seen[0]


def test_the_faults_of_one_sandbox_happen_again_in_the_next(tmp_path: Path) -> None:
    def run() -> list[Any]:
        entries = [{"fault": "html", "rate": 0.3}, {"fault": "server-error", "rate": 0.3}]
        with troubled(tmp_path, *entries) as base:
            for _ in range(30):
                klines(base, limit=1)
            return ask(base, "/sandbox/faults").json["injected"]

    first = run()
    assert len(first) > 8
    assert run() == first
