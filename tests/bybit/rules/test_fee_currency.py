from decimal import Decimal as D
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.fees import UNKNOWN, FeeCharge, FeeRates, FeeSchedule, Liquidity, Rounding, fee_charge, fee_currency
from tests.bybit.rules.amounts import prices, quantities, rates

MAKER, TAKER = Liquidity.MAKER, Liquidity.TAKER
PAID, REBATE = FeeRates(D("0.001"), D("0.001")), FeeRates(D("-0.0001"), D("0.001"))


@pytest.mark.parametrize(
    ("terms", "liquidity", "side", "coin"),
    [
        (PAID, MAKER, "Buy", "BTC"),
        (PAID, MAKER, "Sell", "USDT"),
        (PAID, TAKER, "Buy", "BTC"),
        (PAID, TAKER, "Sell", "USDT"),
        (REBATE, MAKER, "Buy", "USDT"),
        (REBATE, MAKER, "Sell", "BTC"),
        (REBATE, TAKER, "Buy", "BTC"),
        (REBATE, TAKER, "Sell", "USDT"),
    ],
)
def test_spot_is_charged_in_what_is_received_except_a_rebated_maker(
    terms: FeeRates, liquidity: Liquidity, side: str, coin: str
) -> None:
    assert fee_currency(Category.SPOT, side, liquidity, terms, "BTC", "USDT") == coin


@pytest.mark.parametrize(("category", "coin"), [(Category.LINEAR, "USDT"), (Category.INVERSE, "BTC")])
def test_derivatives_are_charged_in_the_coin_they_settle_in(category: Category, coin: str) -> None:
    for side in ("Buy", "Sell"):
        assert fee_currency(category, side, MAKER, REBATE, "BTC", "USDT") == coin


def test_a_spot_maker_without_an_established_rate_is_refused() -> None:
    terms = FeeRates(UNKNOWN, D("0.001"))
    assert fee_currency(Category.SPOT, "Buy", TAKER, terms, "BTC", "EUR") == "BTC"
    with pytest.raises(NotEstablished):
        fee_currency(Category.SPOT, "Buy", MAKER, terms, "BTC", "EUR")


def test_a_side_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput, match="one of Buy, Sell"):
        fee_currency(Category.LINEAR, "buy", TAKER, PAID, "BTC", "USDT")


@pytest.mark.parametrize(
    ("side", "price", "qty", "charge"),
    [
        ("Buy", "53775.3", "0.00009", FeeCharge(D("2.25E-7"), "BTC")),
        ("Buy", "53873.6", "0.00007", FeeCharge(D("1.75E-7"), "BTC")),
        ("Sell", "53842.9", "0.00003", FeeCharge(D("0.0040382175"), "EUR")),
    ],
)
def test_recorded_spot_fees_of_the_eu_entity_come_out_unrounded(
    side: str, price: str, qty: str, charge: FeeCharge
) -> None:
    terms = FeeRates(UNKNOWN, D("0.0025"))
    assert fee_charge(Category.SPOT, side, TAKER, terms, D(qty), D(price), "BTC", "EUR") == charge


def test_every_recorded_fill_is_charged_by_one_of_its_candidates(shared: Path) -> None:
    schedule, off = FeeSchedule.builtin(), []
    for path in sorted((shared / "data" / "fills").glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            if row.get("kind") != "trade":
                continue
            category, symbol = Category(row["market"]), row["symbol"]
            is_eu = symbol.endswith("EUR")
            base, quote = (symbol[:-3], "EUR") if is_eu else (symbol[:-4], "USDT")
            rounding = Rounding.EXACT if category is Category.SPOT else Rounding.VENUE
            charges = [
                fee_charge(
                    category, row["side"], TAKER, each.rates, D(row["qty_text"]), D(row["price_text"]), base, quote,
                    rounding,
                )
                for each in schedule.candidates(category, row["exec_time"], symbol, "vip0@eu" if is_eu else "vip0")
                if each.rates.established(TAKER)
            ]  # fmt: skip
            off.append(min(abs(charge.amount - D(row["fee_text"])) for charge in charges))
            assert {charge.currency for charge in charges} == {row["fee_currency"]}
    assert len(off) == 87
    assert sum(error == 0 for error in off) == 84
    # Closes of copied positions: one fee shared out over several orders.
    assert max(off) <= D("5e-8")


@given(
    st.sampled_from(list(Category)), st.sampled_from(["Buy", "Sell"]), st.sampled_from(list(Liquidity)),
    rates, rates, quantities, prices,
)  # fmt: skip
def test_the_charge_has_the_sign_of_its_rate_and_the_worth_of_the_value(
    category: Category, side: str, liquidity: Liquidity, maker: D, taker: D, qty: D, price: D
) -> None:
    terms = FeeRates(maker, taker)
    charge = fee_charge(category, side, liquidity, terms, qty, price, "BTC", "USD")
    rate = terms.rate(liquidity)
    in_quote = charge.amount * price if charge.currency == "BTC" else charge.amount
    traded = qty if category is Category.INVERSE else qty * price
    assert abs(in_quote - traded * rate) <= abs(traded) * D("1e-20")
    booked = fee_charge(category, side, liquidity, terms, qty, price, "BTC", "USD", Rounding.VENUE)
    assert 0 <= booked.amount - charge.amount < D("1e-8")
    assert booked.currency == charge.currency
