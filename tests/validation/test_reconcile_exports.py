"""The CSV files of Bybit's site."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bybit.rules.candles import Category
from bybit.rules.periods import utc
from tests.validation.exports import (
    CLOSED_HEADER,
    OLD_CLOSED_HEADER,
    PREAMBLE,
    SPOT_HEADER,
    TRADES_HEADER,
    UTA_HEADER,
    execution,
    page,
    sheet,
)
from validation.reconcile import AccountTerms, Reconciliation, reconcile
from validation.reconcile_bookings import Kind, Source, zone_of
from validation.reconcile_rows import Verdict
from validation.reconcile_statement import statement
from validation.reconcile_totals import totals_of

D = Decimal
# The site shows twenty decimals.
BUY = (
    "4711,USDT,BTCUSDT,TRADE,BUY,0.10000000000000000000,0.10000000000000000000,60000.00000000000000000000,"
    "0.00000000000000000000,-3.30000000000000000000,0.00000000000000000000,-3.30000000000000000000,"
    "996.70000000000000000000,OPEN,2025-01-01 01:00:00"
)
SETTLED = "4711,USDT,BTCUSDT,SETTLEMENT,BUY,--,0.1,--,-0.6,0,0,-0.6,996.1,SETTLEMENT,2025-01-01 08:00:00"
MOVED = "4711,USDT,,TRANSFER_IN,--,0,0,0,0,0,1000,1000,1000,--,2025-01-01 00:30:00"
FUNDED = execution(execType="Funding", execFee="0.6", feeRate="0.0001", execTime="1735718400000", execId="f-1")


def judge(*files: bytes, zone: str = "UTC") -> Reconciliation:
    return reconcile([(f"file-{n}", payload) for n, payload in enumerate(files, 1)], AccountTerms(zone=zone_of(zone)))


def test_asset_changes_are_read_below_their_preamble_with_signs_turned() -> None:
    found = judge(sheet(PREAMBLE, UTA_HEADER, BUY, MOVED))
    (row,) = found.judgements
    assert (row.verdict, row.reason, row.booking.fee) == (Verdict.EXACT, "era", D("3.3"))
    assert row.booking.time_ms is not None
    assert utc(row.booking.time_ms) == datetime(2025, 1, 1, 1, tzinfo=UTC)
    told = statement(found)
    assert told["accounts"] == ["4711"]
    assert [other["type"] for other in told["others"]] == ["TRANSFER_IN"]


def test_a_settlement_without_rate_or_mark_is_unknowable_until_the_executions_are_there() -> None:
    (alone,) = judge(sheet(UTA_HEADER, SETTLED)).judgements
    assert (alone.verdict, alone.is_unknowable) == (Verdict.UNEXPLAINED, True)
    assert "executions" in alone.detail
    found = judge(sheet(UTA_HEADER, SETTLED), page(FUNDED))
    assert {row.verdict for row in found.judgements} == {Verdict.EXACT}
    assert totals_of(found).by_coin["USDT"].funding_paid == D("0.6")


def test_the_same_export_twice_counts_once() -> None:
    whole = sheet(UTA_HEADER, SETTLED, BUY, MOVED)
    found = judge(whole, whole)
    assert (len(found.judgements), len(found.others), len(found.duplicates)) == (2, 1, 3)


def test_two_equal_fills_of_one_file_are_two() -> None:
    second = BUY.replace("996.70000000000000000000", "993.40000000000000000000")
    assert totals_of(judge(sheet(UTA_HEADER, second, BUY))).by_coin["USDT"].fees_paid == D("6.6")


def test_equal_fills_of_two_seconds_in_two_files_are_two() -> None:
    later = BUY.replace("01:00:00", "01:00:05").replace("996.7", "993.4")
    assert totals_of(judge(sheet(UTA_HEADER, BUY), sheet(UTA_HEADER, later))).by_coin["USDT"].fees_paid == D("6.6")


def test_a_fill_without_role_or_rate_by_a_plain_unrecorded_rate_is_unknowable() -> None:
    odd = "4711,USDT,ODDUSDT,TRADE,SELL,2,0,4356,0,-7.8408,10,2.1592,100,CLOSE,2026-10-22 19:11:48"
    (row,) = judge(sheet(UTA_HEADER, odd)).judgements
    assert (row.verdict, row.reason, row.is_unknowable) == (Verdict.UNEXPLAINED, "rate not recorded anywhere", True)
    sighted = (
        odd.replace("ODDUSDT", "XAUTUSDT").replace("10-22", "09-22").replace("-7.8408,10,2.1592", "-8.712,10,1.288")
    )
    (row,) = judge(sheet(UTA_HEADER, sighted)).judgements
    assert (row.verdict, row.reason) == (Verdict.EXACT, "symbol rate")


def test_both_legs_of_a_spot_trade_are_read_and_the_fee_is_taken_in_its_own_coin() -> None:
    bought = "1,BTC,BTCUSDT,TRADE,BUY,0.01,0,60000,0,-0.00001,0.01,0.00999,0.00999,--,2025-01-01 01:00:00"
    paid = "1,USDT,BTCUSDT,TRADE,BUY,-600,0,60000,0,0,-600,-600,400,--,2025-01-01 01:00:00"
    found = judge(sheet(UTA_HEADER, bought, paid))
    (row,) = found.judgements
    assert (row.verdict, row.reason, row.booking.coin) == (Verdict.EXACT, "era", "BTC")
    assert len(found.others) == 1


def test_the_derivatives_trade_history_names_its_rates_and_its_zone() -> None:
    trade = "BTCUSDT,Trade,0.1,60000,60000,0.0002,1.2,USDT,1.2,Short,Limit, a1, o1,10:00 2025-01-10"
    funding = "BTCUSDT,Funding,0.1,60000,0,0.0001,0.6,,0,Long,--, f1, g1,08:00 2025-01-11"
    found = judge(sheet(TRADES_HEADER, trade, funding), zone="UTC+5")
    assert [(row.verdict, row.reason) for row in found.judgements] == [
        (Verdict.EXACT, "era"),
        (Verdict.EXACT, "funding"),
    ]
    first = found.judgements[0].booking
    assert (first.side, first.exec_id, first.precision_ms) == ("Sell", "a1", 60_000)
    assert first.time_ms == int(datetime(2025, 1, 10, 10, tzinfo=UTC).timestamp() * 1000)


def test_a_fill_shown_by_the_minute_is_the_one_shown_by_the_millisecond() -> None:
    trade = "BTCUSDT,Trade,0.1,60000,60000,0.00055,3.3,USDT,3.3,Long,Market, other, o1,01:00 2025-01-01"
    found = judge(sheet(TRADES_HEADER, trade), page(execution(execTime="1735693223456")))
    assert totals_of(found).by_coin["USDT"].fees_paid == D("3.3")
    assert sum(row.same_as is not None for row in found.judgements) == 1


def test_the_spot_trade_history_charges_what_was_received() -> None:
    bought = "BTCUSDT,LIMIT,BUY,BTC,0.00001,600,60000,0.01,--,t1, o1,01:00 2025-01-01"
    sold = "BTCUSDT,MARKET,SELL,USDT,0.6,600,60000,0.01,--,t2, o2,02:00 2025-01-01"
    found = judge(sheet(SPOT_HEADER, bought, sold))
    assert {row.verdict for row in found.judgements} == {Verdict.EXACT}
    older = sheet(
        SPOT_HEADER.replace("feeCoin,ExecFeeV2,", ""),
        "BTCUSDT,LIMIT,BUY,600,60000,0.01,0.00001,t1, o1,01:00 2025-01-01",
    )
    assert {row.verdict for row in judge(older).judgements} == {Verdict.EXACT}


def test_closed_pnl_is_judged_by_the_digits_it_shows() -> None:
    info = '"{""USDT"":""0.11""}","{""USDT"":""0.121""}"'
    good = f"BTCUSDT,2.0000,100.000,110.000,0.11,0.121,0.02,{info},Trade,19.749,12:00 2025-01-10"
    found = judge(sheet(CLOSED_HEADER, good))
    (row,) = found.judgements
    assert (row.verdict, row.booking.kind, row.booking.source) == (
        Verdict.WITHIN_ROUNDING,
        Kind.CLOSED,
        Source.CLOSED_PNL,
    )
    assert totals_of(found).by_coin["USDT"].realized_pnl == D(20)
    wrong = good.replace("0.121,", "0.181,").replace("19.749", "19.689")
    assert judge(sheet(CLOSED_HEADER, wrong)).judgements[0].verdict is Verdict.UNEXPLAINED


def test_old_closed_pnl_leaves_the_fees_to_what_the_price_difference_leaves() -> None:
    good = "OPUSDT,Close Long,793.7,0.6299,0.6331,1.9884,Trade,2025-06-05 10:05:40,9871b976,2025-06-05 10:05:40"
    (row,) = judge(sheet(OLD_CLOSED_HEADER, good)).judgements
    assert row.verdict is Verdict.WITHIN_ROUNDING
    assert row.booking.side == "Sell"


def test_the_funding_account_pays_no_fees_and_is_listed() -> None:
    moved = "1,2026-03-02 01:00:30,BTC,1.0E-8,Earn,0.00202,Easy Earn | Flexible Interest Distribution"
    found = judge(sheet("Uid,Date & Time(UTC),Coin,QTY,Type,Account Balance,Description", moved))
    assert found.is_explained
    assert found.others[0].change == D("1e-8")


def test_a_line_with_a_cell_too_few_is_kept_as_unreadable() -> None:
    found = judge(sheet(UTA_HEADER, BUY, "4711,USDT,BTC"))
    assert [row.reason for row in found.judgements if row.verdict is Verdict.UNEXPLAINED] == ["unreadable row"]


@pytest.mark.parametrize(("separator", "encoding"), [(";", "utf-8-sig"), ("\t", "utf-16")])
def test_what_a_spreadsheet_makes_of_a_file_is_read_too(separator: str, encoding: str) -> None:
    text = sheet(UTA_HEADER, BUY).decode().replace(",", separator)
    assert judge(text.encode(encoding)).is_explained


@pytest.mark.parametrize(
    ("name", "hours"),
    [("UTC", 0), ("UTC+1", 1), ("+05:30", 5.5), ("-3", -3), ("Europe/Berlin", 1), ("UTC-03:30", -3.5)],
)
def test_zones_are_offsets_or_names(name: str, hours: float) -> None:
    assert datetime(2025, 1, 1, tzinfo=zone_of(name)).utcoffset() == timedelta(hours=hours)


def test_a_category_that_rows_do_not_name_is_the_one_given() -> None:
    row = "1,BTC,BTCUSD,TRADE,BUY,6000,6000,60000,0,-0.000055,0,-0.000055,1,OPEN,2025-01-01 01:00:00"
    (judged,) = judge(sheet(UTA_HEADER, row)).judgements
    assert (judged.booking.category, judged.verdict) == (Category.INVERSE, Verdict.EXACT)


def test_a_fee_on_a_conversion_is_listed_as_one_that_is_not_modelled() -> None:
    (row,) = judge(
        sheet(UTA_HEADER, "1,MNT,,CURRENCY_SELL,--,10,0,0.5,0,-0.2,-9.8,-10,0,--,2025-01-01 01:00:00")
    ).judgements
    assert (row.verdict, row.reason, row.booking.fee) == (Verdict.UNEXPLAINED, "fee of another kind", D("0.2"))
