"""The API check: what it finds, and that it says so without a key, with a bad one, and when nothing answers."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bybit.client import BybitClient, NoResponse
from bybit.sandbox import SandboxConfig
from tests.bybit.client.fakes import KEY, NOW_MS, SECRET, FakeClock, client_of, coded, ok
from tests.bybit.client.test_endpoints import RIGHTS
from tests.bybit.client.test_orders import INSTRUMENT
from tests.sandbox import running
from validation.api import BybitAPIValidator, Status, environment_of

AREAS = [
    "connectivity",
    "authentication",
    "balance handling",
    "rate limits",
    "error handling",
    "security practices",
]


class Venue:
    """Answers every question of the check."""

    def __init__(self, clock: FakeClock, **rights: Any) -> None:
        self.clock = clock
        self.rights = RIGHTS | {"permissions": {"ContractTrade": ["Order"]}, "ips": ["10.0.0.1"]} | rights
        self.posts = 0
        self.replies: dict[str, Any] = {}

    def __call__(self, request: Any) -> Any:
        self.posts += request.method == "POST"
        if request.path in self.replies:
            return self.replies[request.path]
        venue_ms = self.clock.venue_ms()
        coin = {"coin": "USDT", "equity": "10", "walletBalance": "9", "unrealisedPnl": "1"}
        totals = {"totalEquity": "10", "totalAvailableBalance": "8"}
        listing = {"category": "linear", "list": [], "nextPageCursor": ""}
        known: dict[str, Any] = {
            "/v5/market/time": {"timeNano": f"{venue_ms}000000"},
            "/v5/user/query-api": self.rights,
            "/v5/account/info": {"marginMode": "REGULAR_MARGIN", "unifiedMarginStatus": 5},
            "/v5/account/wallet-balance": {"list": [{"accountType": "UNIFIED", **totals, "coin": [coin]}]},
            "/v5/market/instruments-info": listing | {"list": [INSTRUMENT]},
        }
        if request.path == "/v5/market/tickers":
            is_known = request.params["symbol"] == "BTCUSDT"
            rows = [{"symbol": "BTCUSDT", "lastPrice": "30000", "markPrice": "30000"}]
            return ok(listing | {"list": rows}) if is_known else coded(10001, "symbol invalid")
        return ok(known.get(request.path, listing))


def checked(venue: Venue, *, signed: bool = True, **options: Any) -> tuple[dict[str, Any], Any]:
    client, _, _ = client_of(venue, clock=venue.clock, signed=signed, **options)
    report = BybitAPIValidator(client).run()
    return {check.name: check for check in report.checks}, report


@pytest.fixture
def venue() -> Venue:
    return Venue(FakeClock())


def test_a_sound_endpoint_passes_in_every_area_without_a_write(venue):
    checks, report = checked(venue)
    assert report.passed
    assert list(dict.fromkeys(check.area for check in report.checks)) == AREAS
    assert venue.posts == 0
    assert report.read_only
    assert checks["order and cancel"].status is Status.NOT_CHECKED
    assert "1.00" not in checks["clock"].evidence
    plain = report.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["counts"]["failed"] == 0


def test_without_a_key_the_report_says_what_could_not_be_checked(venue):
    checks, report = checked(venue, signed=False)
    assert report.passed
    for name in ("key", "balance", "positions", "account limits", "withdrawal", "address list", "host against key"):
        assert checks[name].status is Status.NOT_CHECKED
        assert "BYBIT_API_KEY" in checks[name].advice


@pytest.mark.parametrize(
    ("rights", "name", "status"),
    [
        ({"permissions": {"Wallet": ["Withdraw"]}}, "withdrawal", Status.FAILED),
        ({"ips": ["*"]}, "address list", Status.WARNING),
        ({"expiredAt": "2023-11-20T00:00:00Z"}, "expiry", Status.WARNING),
    ],
)
def test_fault_60_rights_that_endanger_the_account_are_found(rights, name, status):
    checks, report = checked(Venue(FakeClock(), **rights))
    assert checks[name].status is status
    assert checks[name].advice
    assert report.passed is (status is not Status.FAILED)


def test_fault_60_a_key_of_another_environment_is_told_apart(venue):
    venue.replies["/v5/user/query-api"] = coded(10003, f"API key {KEY} is invalid")
    checks, report = checked(venue)
    assert not report.passed
    assert checks["host against key"].status is Status.FAILED
    assert "exactly one environment" in checks["key"].advice
    assert checks["balance"].status is Status.NOT_CHECKED
    assert KEY not in json.dumps(report.to_dict())
    assert SECRET not in json.dumps(report.to_dict())


def test_fault_60_a_mainnet_key_that_can_trade_is_warned_of(venue):
    checks, _ = checked(venue, base_urls=["https://api.bybit.com"])
    assert checks["host against key"].status is Status.WARNING
    checks, _ = checked(Venue(FakeClock(), readOnly=1), base_urls=["https://api.bybit.com"])
    assert checks["host against key"].status is Status.PASSED


@pytest.mark.parametrize(("skew_ms", "status"), [(0, Status.PASSED), (700, Status.WARNING), (-5000, Status.WARNING)])
def test_fault_7_a_wrong_clock_is_found(venue, skew_ms, status):
    venue.clock.skew_ms = skew_ms
    checks, _ = checked(venue, signed=False)
    assert checks["clock"].status is status


def test_a_venue_that_never_answers_gives_a_report_and_no_exception():
    client, _, _ = client_of(NoResponse("gone"), signed=True)
    report = BybitAPIValidator(client).run()
    assert not report.passed
    assert report.failures[0].name == "hosts"
    assert [check.area for check in report.checks] == AREAS
    assert {check.status for check in report.checks[1:]} == {Status.NOT_CHECKED}


def test_a_maintenance_is_told(venue):
    notice = {"id": "1", "title": "upgrade", "state": "ongoing", "begin": str(NOW_MS), "end": ""}
    venue.replies["/v5/system/status"] = ok({"list": [notice]})
    checks, _ = checked(venue, signed=False)
    assert (checks["maintenance"].status, checks["maintenance"].evidence) == (Status.WARNING, "upgrade (ongoing)")


def test_a_balance_that_does_not_add_up_is_told(venue):
    coin = {"coin": "USDT", "equity": "12", "walletBalance": "9", "unrealisedPnl": "1"}
    venue.replies["/v5/account/wallet-balance"] = ok({"list": [{"accountType": "UNIFIED", "coin": [coin]}]})
    checks, _ = checked(venue)
    assert checks["balance"].status is Status.WARNING
    assert "USDT" in checks["balance"].evidence


@pytest.mark.parametrize(
    ("url", "environment"),
    [
        ("https://api.bybit.com", "mainnet"),
        ("https://api.bytick.com", "mainnet"),
        ("https://api-testnet.bybit.com", "testnet"),
        ("https://api-demo.bybit.com", "demo"),
        ("http://127.0.0.1:8900", "local"),
        ("https://proxy.example", "other"),
    ],
)
def test_the_environment_is_known_by_its_address(url, environment):
    assert environment_of((url,)) == environment


@pytest.mark.parametrize("trade", [False, True])
def test_the_sandbox_passes_and_keeps_no_order(trade):
    with (
        running(SandboxConfig(address_limit=None)) as url,
        BybitClient("sandbox-key", "sandbox-secret", base_urls=[url]) as client,
    ):
        report = BybitAPIValidator(client, trade=trade).run()
        assert report.passed, report.failures
        assert report.environment == "local"
        assert client.get_open_orders() == []
        assert len(client.get_order_history()) == int(trade)
    wanted = Status.PASSED if trade else Status.NOT_CHECKED
    assert {check.status for check in report.checks if check.name == "order and cancel"} == {wanted}


def test_the_sandbox_refuses_a_foreign_key_and_the_report_says_so():
    with (
        running(SandboxConfig(address_limit=None)) as url,
        BybitClient("another-key", "another-secret", base_urls=[url]) as client,
    ):
        report = BybitAPIValidator(client).run()
    assert {check.name for check in report.failures} == {"key", "host against key"}


def test_a_key_that_lasts_is_not_warned_of():
    later = (datetime.fromtimestamp(NOW_MS / 1000, UTC) + timedelta(days=60)).isoformat()
    checks, _ = checked(Venue(FakeClock(), expiredAt=later))
    assert checks["expiry"].status is Status.PASSED
