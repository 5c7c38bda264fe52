"""Whole files in, one judgement a row out."""

from decimal import Decimal

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput
from bybit.rules.fees import Rounding
from tests.validation.exports import UTA_HEADER, closed, execution, line, page, sheet
from validation.reconcile import AccountTerms, Reconciliation, reconcile
from validation.reconcile_bookings import BadExport
from validation.reconcile_rows import Judgement, Verdict
from validation.reconcile_statement import statement
from validation.reconcile_totals import totals_of

D = Decimal
AT_THE_END = {"execTime": "1735693300000", "closedSize": "0.1"}


def judge(*files: bytes, tier: str = "vip0", category: Category = Category.LINEAR) -> Reconciliation:
    named = [(f"file-{number}", payload) for number, payload in enumerate(files, 1)]
    return reconcile(named, AccountTerms(tier=tier, category=category))


def only(found: Reconciliation) -> Judgement:
    (judgement,) = found.judgements
    return judgement


def test_a_takers_fee_is_exact_by_the_era() -> None:
    row = only(judge(page(execution())))
    assert (row.verdict, row.reason, row.difference) == (Verdict.EXACT, "era", 0)


@settings(deadline=None)
@given(
    qty=st.decimals("0.001", "500", places=3),
    price=st.decimals("0.0001", "200000", places=4),
    is_maker=st.booleans(),
)
def test_what_the_rules_book_is_always_exact(qty: Decimal, price: Decimal, is_maker: bool) -> None:
    rate = D("0.0002") if is_maker else D("0.00055")
    fee = Rounding.VENUE.book(qty * price * rate)
    row = execution(execQty=str(qty), execPrice=str(price), execFee=f"{fee:f}", isMaker=is_maker, feeRate=str(rate))
    assert only(judge(page(row))).verdict is Verdict.EXACT


@settings(deadline=None)
@given(excess=st.decimals("0.0000001", "10", places=7))
def test_a_fee_beyond_rounding_is_never_explained(excess: Decimal) -> None:
    row = only(judge(page(execution(execFee=f"{D('3.3') + excess:f}"))))
    assert row.verdict is Verdict.UNEXPLAINED
    assert row.difference == excess


@pytest.mark.parametrize(
    ("changes", "verdict", "reason"),
    [
        ({"execFee": "1.2", "feeRate": "0.0002", "isMaker": True}, "exact", "era"),
        ({"execFee": "3.30000004"}, "within rounding", "era, rounding"),
        ({"execFee": "6.6", "feeRate": "0.0011"}, "exact", "symbol rate"),
        ({"execFee": "3.6", "feeRate": "0.0006", "execTime": "1680000000000"}, "exact", "era"),
        ({"execFee": "3.3", "feeRate": "0.00055", "execTime": "1680000000000"}, "exact", "neighbouring era"),
        ({"execFee": "-3.3"}, "unexplained", "no known rate"),
        ({"execFee": "0.33", "feeCurrency": "MNT"}, "unexplained", "other coin"),
    ],
)
def test_a_fee_is_explained_by_what_made_it(changes: dict[str, str], verdict: str, reason: str) -> None:
    row = only(judge(page(execution(**changes))))
    assert (row.verdict, row.reason) == (verdict, reason)


def test_an_unexplained_fee_says_which_tier_would_explain_it() -> None:
    row = only(judge(page(execution(execFee="2.4", feeRate="0.0004"))))
    assert row.verdict is Verdict.EXACT  # the row names its rate
    bare = {name: value for name, value in execution(execFee="2.4").items() if name != "feeRate"}
    row = only(judge(page(bare)))
    assert row.verdict is Verdict.UNEXPLAINED
    assert "vip1 taker: give --tier" in row.detail
    assert only(judge(page(bare), tier="vip1")).reason == "era"


def test_the_accounts_own_fee_rates_come_first() -> None:
    told = {"symbol": "BTCUSDT", "takerFeeRate": "0.0005", "makerFeeRate": "0.0001"}
    snapshot = page(told, time=1735600000000)
    row = only(judge(snapshot, page(execution(execFee="3", feeRate="0.0005"))))
    assert (row.verdict, row.reason) == (Verdict.EXACT, "account snapshot")


def test_an_inverse_fee_is_paid_in_coin() -> None:
    row = execution(symbol="BTCUSD", execQty="6000", execFee="0.000055", feeCurrency="BTC")
    reply = orjson.loads(page(row))
    reply["result"]["category"] = "inverse"
    assert only(judge(orjson.dumps(reply))).verdict is Verdict.EXACT


def test_funding_is_position_times_mark_times_rate_and_flips_for_a_short() -> None:
    paid = execution(execType="Funding", execFee="0.6", feeRate="0.0001", isMaker=False)
    received = execution(execType="Funding", side="Sell", execFee="-0.6", feeRate="0.0001", execId="e-2")
    logged = line(
        type="SETTLEMENT", side="Sell", funding="0.6", fee="0", change="0.6", feeRate="-0.0001", tradeId="e-2"
    )
    for rows in ([paid], [received], [received, logged]):
        files = [page(row) for row in rows]
        assert {row.verdict for row in judge(*files).judgements} == {Verdict.EXACT}
    assert only(judge(page(line(**{**logged, "funding": "-0.6", "change": "-0.6"})))).verdict is Verdict.UNEXPLAINED


def test_an_execution_and_its_log_line_count_once() -> None:
    totals = totals_of(judge(page(execution()), page(line())))
    assert totals.rows["exact"] == 2
    assert totals.by_coin["USDT"].fees_paid == D("3.3")


def test_files_that_contradict_each_other_are_unexplained() -> None:
    found = judge(page(execution()), page(line(fee="3.6", feeRate="0.0006", change="-3.6")))
    assert [row.reason for row in found.judgements if row.verdict is Verdict.UNEXPLAINED] == [
        "files contradict each other"
    ]


def test_the_same_row_in_two_pages_counts_once_and_is_reported() -> None:
    found = judge(page(execution()), page(execution(), execution(execId="e-2")))
    assert len(found.judgements) == 2
    assert statement(found)["duplicates"] == ["file-2 row 1 repeats file-1 row 1"]


def test_one_id_with_other_figures_is_an_error_with_a_way_out() -> None:
    found = judge(page(execution()), page(execution(execFee="3.4")))
    assert not found.is_explained
    (row,) = [row for row in found.judgements if row.verdict is Verdict.UNEXPLAINED]
    assert row.reason == "same id, other figures"
    assert "fetch both pages again" in row.detail


def test_a_row_nobody_can_read_is_kept_and_fails_the_whole() -> None:
    found = judge(page(execution(), execution(execId="e-2", execFee="lots")))
    assert [row.reason for row in found.judgements if row.verdict is Verdict.UNEXPLAINED] == ["unreadable row"]
    assert statement(found)["rows"] == 2


def test_a_listing_without_its_last_page_is_an_error() -> None:
    found = judge(page(execution(), cursor="abc"))
    assert not found.is_explained
    assert "fetch on with the cursor" in found.problems[0].text
    assert judge(page(execution(), cursor="abc"), page(cursor="")).is_explained


def test_a_hole_in_the_chain_of_balances_is_an_error_that_names_the_sum() -> None:
    later = line(id="t-3", tradeId="e-3", transactionTime="1735693400000", cashBalance="986.8")
    found = judge(page(later, line()))
    assert not found.is_explained
    assert "changed it by -6.6 are missing" in found.problems[0].text
    money = {"fee": "6.6", "change": "-6.6", "cashBalance": "990.1", "qty": "0.2"}
    middle = line(id="t-2", tradeId="e-2", transactionTime="1735693300000", **money)
    assert judge(page(later, middle, line())).is_explained


def test_a_line_whose_change_does_not_add_up_is_an_error() -> None:
    assert "is not the cash flow" in judge(page(line(change="-3.4"))).problems[0].text


def test_closed_pnl_is_exact_leg_by_leg() -> None:
    row = only(judge(page(closed())))
    assert (row.verdict, row.reason) == (Verdict.EXACT, "era")


def test_legs_of_several_fills_may_be_rounded_up_each() -> None:
    row = only(judge(page(closed(closeFee="3.35500002", closedPnl="93.34499998"))))
    assert row.verdict is Verdict.WITHIN_ROUNDING


def test_a_profit_that_does_not_add_up_is_unexplained() -> None:
    row = only(judge(page(closed(closedPnl="93.445"))))
    assert (row.verdict, row.reason) == (Verdict.UNEXPLAINED, "profit does not add up")


def test_a_leg_filled_in_both_roles_is_told_by_the_executions_only() -> None:
    # Half of the opening was made at 0.0002, half taken at 0.00055: 0.6 + 1.65.
    row = closed(openFee="2.25", closedPnl="94.395")
    alone = only(judge(page(row)))
    assert (alone.verdict, alone.is_unknowable) == (Verdict.UNEXPLAINED, True)
    fills = [
        execution(execId="e-3", orderId="o-2", side="Sell", execPrice="61000", execFee="3.355", **AT_THE_END),
        execution(execId="e-2", execQty="0.05", execFee="1.65", execTime="1735693200001", closedSize="0"),
        execution(execQty="0.05", execFee="0.6", feeRate="0.0002", isMaker=True, closedSize="0"),
    ]
    # What was closed first had been opened before the first page.
    before = execution(execId="e-0", orderId="o-0", side="Sell", execTime="1735693100000", closedSize="0.1")
    assert {row.verdict for row in judge(page(*fills, before), page(row)).judgements} == {Verdict.EXACT}
    assert {row.verdict for row in judge(page(*fills), page(row)).judgements} == {Verdict.EXACT}


def test_money_is_kept_apart_by_coin_month_and_kind() -> None:
    found = judge(
        page(execution(), execution(execId="e-2", execFee="-0.6", execType="Funding", side="Sell", feeRate="0.0001"))
    )
    totals = totals_of(found)
    money = totals.by_month["2025-01", "USDT"]
    assert (money.fees_paid, money.funding_received, money.costs) == (D("3.3"), D("0.6"), D("2.7"))
    assert totals.by_symbol["BTCUSDT", "USDT"].costs == D("2.7")


def test_every_movement_is_listed_even_without_a_fee() -> None:
    transfer = line(id="t-9", type="TRANSFER_IN", symbol="", category="", side="None", qty="0", fee="", feeRate="",
                    tradePrice="", tradeId="", cashFlow="500", change="500", cashBalance="500")  # fmt: skip
    told = statement(judge(page(transfer)))
    assert told["others"] == [{"type": "TRANSFER_IN", "coin": "USDT", "rows": 1, "change": "500"}]


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"{", "is no JSON"),
        (b'{"retCode":10002,"retMsg":"late"}', "refusal of the venue, retCode 10002"),
        (b'{"result":{"list":[{"a":1}]}}', "rows with the fields a"),
        (b"PK\x03\x04", "Excel workbook"),
        (b"", "is empty"),
        (b"a,b\n1,2\n", "is no export perpflow reads"),
        (b"PAR1nothing", "is no Parquet file"),
        (sheet(UTA_HEADER.replace("Fee Paid,", "")), "also needs fee paid"),
    ],
)
def test_a_file_of_no_known_format_is_refused_with_what_was_found(payload: bytes, words: str) -> None:
    with pytest.raises(BadExport, match=words):
        judge(payload)


def test_an_unknown_tier_is_wrong_use() -> None:
    with pytest.raises(InvalidInput, match="known are"):
        judge(page(execution()), tier="vip99")


def test_pages_come_as_bare_results_bare_rows_lists_and_lines() -> None:
    result = {"list": [execution()], "nextPageCursor": ""}
    shapes = [result, [execution()], [result, {"retCode": 0, "result": {"list": [execution(execId="e-2")]}}]]
    payloads = [orjson.dumps(shape) for shape in shapes] + [
        orjson.dumps(result) + b"\n" + page(execution(execId="e-2"))
    ]
    assert [len(judge(payload).judgements) for payload in payloads] == [1, 1, 2, 2]


def test_recorded_replies_of_the_venue_are_explained(shared) -> None:  # type: ignore[no-untyped-def]
    folder = shared / "data" / "responses"
    old = (folder / "hirokisan" / "hirokisan_v5-position-get-closed-pnl.json").read_bytes()
    found = judge(old)
    assert only(found).verdict is Verdict.EXACT
    taken = (folder / "JKorf" / "jkorf_GetUserTrades.json").read_bytes()
    assert only(judge(taken)).verdict is Verdict.EXACT


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"symbol": "BTC-27MAR26-120000-C", "category": "option"}, "options not modelled"),
        ({"type": "CURRENCY_SELL", "symbol": "", "category": "", "side": "None"}, "fee of another kind"),
    ],
)
def test_a_fee_that_is_not_modelled_is_listed_as_such_and_never_passed_over(
    changes: dict[str, str], reason: str
) -> None:
    row = only(judge(page(line(**changes))))
    assert (row.verdict, row.reason, row.is_unknowable) == (Verdict.UNEXPLAINED, reason, True)
