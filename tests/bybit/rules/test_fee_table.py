"""The tables that the product carries, held against the reference they were copied from."""

import csv
from decimal import Decimal
from pathlib import Path

from bybit.rules.candles import Category
from bybit.rules.fee_groups import GROUP_SYMBOLS
from bybit.rules.fee_rates import MARKETS
from bybit.rules.fees import Basis, FeeSchedule, Liquidity
from bybit.rules.periods import parse_time

BUILTIN = FeeSchedule.builtin()


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_row_of_the_reference_is_in_the_schedule(shared: Path) -> None:
    rows = [row for row in table(shared / "reference" / "fees.csv") if row["market"] in MARKETS.values()]
    assert len(rows) == 32
    held = {
        (era.market, era.tier, era.rates.maker, era.rates.taker, era.valid_from, era.valid_to, era.confidence)
        for era in BUILTIN.table
    }
    for row in rows:
        end = parse_time(row["valid_to"]) if row["valid_to"] else None
        rates = Decimal(row["maker"]), Decimal(row["taker"])
        assert (row["market"], row["tier"], *rates, parse_time(row["valid_from"]), end, row["confidence"]) in held


def test_every_symbol_of_the_reference_is_quoted_by_its_group(shared: Path) -> None:
    terms = table(shared / "reference" / "fee-groups.csv")
    members = table(shared / "reference" / "fee-group-symbols.csv")
    assert len(members) == 746
    n_quotes = 0
    for member in members:
        when = parse_time(member["as_of"])
        category = Category.INVERSE if is_inverse(member["symbol"]) else Category.LINEAR
        for row in terms:
            if row["group"] != member["group"]:
                continue
            quote = BUILTIN.quote(category, row["level"], when, member["symbol"])
            assert quote.basis is Basis.GROUP
            assert quote.rates.maker == Decimal(row["maker"] or row["maker_rebate"])
            assert quote.rates.established(Liquidity.TAKER) == bool(row["taker"])
            if row["taker"]:
                assert quote.rates.taker == Decimal(row["taker"])
            n_quotes += 1
    assert n_quotes == 746 * 9


def is_inverse(symbol: str) -> bool:
    return symbol.endswith("USD") or (symbol[:-3].endswith("USD") and symbol[-2:].isdigit())


def test_no_symbol_stands_in_two_groups() -> None:
    symbols = [symbol for text in GROUP_SYMBOLS.values() for symbol in text.split()]
    assert len(symbols) == len(set(symbols)) == 746


def test_every_row_says_where_it_is_from_and_how_far_it_is_trusted() -> None:
    for record in (*BUILTIN.table, *BUILTIN.sightings):
        assert record.source
        assert record.confidence in ("high", "medium", "low")
