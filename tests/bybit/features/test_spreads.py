from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit.features.spreads import (
    Book,
    Depth,
    Level,
    arbitrage,
    depth_ratio,
    deviation_pct,
    difference,
    difference_pct,
    fill_price,
    price_difference,
    vwap,
)
from bybit.rules.errors import InvalidInput


def levels(*rows: tuple[str, str]) -> tuple[Level, ...]:
    return tuple((D(price), D(qty)) for price, qty in rows)


A = Book(levels(("100.0", "2"), ("99.9", "3")), levels(("100.1", "1"), ("100.2", "4")))
B = Book(levels(("100.6", "0.5"), ("100.35", "2"), ("100.2", "9")), levels(("100.7", "2"), ("100.8", "5")))
NO_BIDS = Book((), A.asks)
NO_ASKS = Book(A.bids, ())
BAND = D("0.002")


@st.composite
def books(draw: st.DrawFn) -> Book:
    """Whole ticks around 1000, quantities in tenths."""
    mid = draw(st.integers(990, 1010))
    qty = st.integers(1, 30).map(lambda tenths: D(tenths) / 10)
    below = sorted(draw(st.sets(st.integers(mid - 8, mid - 1), min_size=1, max_size=5)), reverse=True)
    above = sorted(draw(st.sets(st.integers(mid, mid + 8), min_size=1, max_size=5)))
    return Book([(D(price), draw(qty)) for price in below], [(D(price), draw(qty)) for price in above])


fees = st.integers(-3, 60).map(lambda n: D(n) / 100_000)


def by_the_lot(buy: Book, sell: Book, buy_fee: D, sell_fee: D) -> tuple[D, D, D]:
    """Return quantity, net and gross of trading a tenth at a time for as long as it earns."""
    asks = [price for price, qty in buy.asks for _ in range(int(qty * 10))]
    bids = [price for price, qty in sell.bids for _ in range(int(qty * 10))]
    lots = [(bid * (1 - sell_fee) - ask * (1 + buy_fee), bid - ask) for ask, bid in zip(asks, bids, strict=False)]
    good = [lot for lot in lots if lot[0] > 0]
    return D(len(good)) / 10, sum((net for net, _ in good), D(0)) / 10, sum((gross for _, gross in good), D(0)) / 10


@given(books(), books(), fees, fees)
def test_the_walk_takes_every_lot_that_earns_and_no_other(buy: Book, sell: Book, buy_fee: D, sell_fee: D) -> None:
    ours = arbitrage(buy, sell, buy_fee_rate=buy_fee, sell_fee_rate=sell_fee)
    assert ours is not None
    assert (ours.qty, ours.net_profit, ours.gross_profit) == by_the_lot(buy, sell, buy_fee, sell_fee)
    assert ours.is_opportunity == (ours.qty > 0)


@given(books(), fees.filter(lambda fee: fee >= 0))
def test_one_book_never_pays_against_itself(book: Book, fee: D) -> None:
    ours = arbitrage(book, book, buy_fee_rate=fee, sell_fee_rate=fee)
    assert ours is not None
    assert not ours.is_opportunity
    assert (ours.qty, ours.net_profit, ours.gross_profit) == (0, 0, 0)


def test_figures_of_one_book_are_those_worked_out_by_hand() -> None:
    assert (A.mid, A.spread) == (D("100.05"), D("0.1"))
    assert abs(A.spread_bps - D("9.995002498750624")) < D("1e-15")
    assert A.depth(BAND) == Depth(D("499.7"), D("500.9"))
    assert abs(A.depth(BAND).imbalance - D("-0.0011992804317409553")) < D("1e-18")
    assert abs(A.liquidity_score(BAND) - D("91.00498159174583")) < D("1e-13")


def test_two_levels_that_pay_are_taken_and_the_third_is_left() -> None:
    ours = arbitrage(A, B, buy_fee_rate=D("0.00055"), sell_fee_rate=D("0.0005"))
    assert ours is not None
    assert (ours.net_per_unit, ours.qty) == (D("0.394645"), D("2.5"))
    assert (ours.net_profit, ours.gross_profit) == (D("0.33678"), D("0.6"))
    assert abs(ours.net_bps - D("39.40340305339556")) < D("1e-13")


def test_an_edge_of_exactly_its_fees_is_none() -> None:
    buy, sell = Book((), levels(("100", "1"))), Book(levels(("102.02", "1")), ())
    at_cost = arbitrage(buy, sell, buy_fee_rate=D("0.0202"), sell_fee_rate=D(0))
    below = arbitrage(buy, sell, buy_fee_rate=D("0.0201999999999"), sell_fee_rate=D(0))
    assert at_cost is not None
    assert below is not None
    assert (at_cost.net_per_unit, at_cost.is_opportunity, at_cost.qty) == (0, False, 0)
    assert (below.is_opportunity, below.qty) == (True, 1)


def test_a_book_that_runs_out_ends_the_walk() -> None:
    buy, sell = (
        Book((), levels(("100", "1"), ("101", "1"))),
        Book(
            levels(
                ("110", "5"),
            ),
            (),
        ),
    )
    ours = arbitrage(buy, sell, buy_fee_rate=D(0), sell_fee_rate=D(0))
    assert ours is not None
    assert (ours.qty, ours.gross_profit, ours.net_bps) == (2, 19, 1000)


@given(books(), books())
def test_what_a_is_over_b_is_the_opposite_of_what_b_is_under_a(a: Book, b: Book) -> None:
    there, back = price_difference(a, b), price_difference(b, a)
    assert there is not None
    assert there == -back
    deviation = deviation_pct(a, b)
    assert deviation is not None
    assert deviation == there / b.mid * 100
    assert abs(depth_ratio(a, b, D(1)) * depth_ratio(b, a, D(1)) - 1) < D("1e-20")


@given(books(), st.integers(0, 200).map(lambda n: D(n) / 10_000), st.integers(0, 200).map(lambda n: D(n) / 10_000))
def test_a_wider_band_is_never_less_deep(book: Book, band: D, wider: D) -> None:
    inner, outer = book.depth(band), book.depth(band + wider)
    assert inner is not None
    assert outer is not None
    assert outer.bid >= inner.bid
    assert outer.ask >= inner.ask
    assert inner.imbalance is None or -1 <= inner.imbalance <= 1
    assert book.depth(D(1)) == Depth(sum(p * q for p, q in book.bids), sum(p * q for p, q in book.asks))


def test_a_level_on_the_edge_of_the_band_counts() -> None:
    book = Book(levels(("99.9", "1"), ("99.7", "1")), levels(("100.1", "1"), ("100.3", "1")))
    # In binary, 100 x (1 - 0.003) is more than 99.7.
    assert book.depth(D("0.003")) == Depth(D("199.6"), D("200.4"))
    assert book.depth(D("0.002999")) == Depth(D("99.9"), D("100.1"))


def test_a_band_narrower_than_the_spread_holds_nothing_and_has_no_imbalance() -> None:
    depth = A.depth(D(0))
    assert depth == Depth(D(0), D(0))
    assert depth.imbalance is None
    assert A.liquidity_score(D(0)) == 0
    assert depth_ratio(A, A, D(0)) is None


@pytest.mark.parametrize("book", [NO_BIDS, NO_ASKS, Book((), ())])
def test_a_side_that_is_empty_leaves_no_figure_rather_than_zero(book: Book) -> None:
    assert (book.mid, book.spread, book.spread_bps, book.depth(BAND), book.liquidity_score(BAND)) == (None,) * 5
    for pair in ((book, A), (A, book)):
        assert price_difference(*pair) is None
        assert deviation_pct(*pair) is None
        assert depth_ratio(*pair, BAND) is None


def test_an_arbitrage_needs_one_side_of_each_book_only() -> None:
    rates = {"buy_fee_rate": D(0), "sell_fee_rate": D(0)}
    assert arbitrage(NO_ASKS, B, **rates) is None
    assert arbitrage(A, NO_BIDS, **rates) is None
    assert arbitrage(NO_BIDS, B, **rates) == arbitrage(A, B, **rates)


def test_a_fill_walks_the_levels_and_is_none_beyond_them() -> None:
    assert fill_price(A.asks, D("0.5")) == D("100.1")
    assert fill_price(A.asks, D("5")) == D("100.18")
    assert fill_price(A.asks, D("5.0000001")) is None
    assert fill_price((), D(1)) is None


@pytest.mark.parametrize("qty", ["0", "-1", "NaN"])
def test_a_fill_of_nothing_has_no_price(qty: str) -> None:
    with pytest.raises(InvalidInput, match="quantity"):
        fill_price(A.asks, D(qty))


@given(books(), st.integers(1, 100).map(lambda tenths: D(tenths) / 10))
def test_a_fill_price_lies_between_best_and_worst_and_grows_with_the_quantity(book: Book, qty: D) -> None:
    price, more = fill_price(book.asks, qty), fill_price(book.asks, qty + 1)
    assert (price is None) == (sum(held for _, held in book.asks) < qty)
    if price is not None:
        assert book.asks[0][0] <= price <= book.asks[-1][0]
        assert more is None or more >= price


def test_trades_weigh_by_their_quantity() -> None:
    a, b = vwap(levels(("100", "1"), ("100.1", "3"))), vwap(levels(("100.2", "2"), ("100.3", "2")))
    assert (a, b) == (D("100.075"), D("100.25"))
    assert difference(a, b) == D("-0.175")
    assert abs(difference_pct(a, b) - D("-0.1745635910224439")) < D("1e-15")
    assert vwap([]) is None
    assert difference(a, None) is None
    assert difference_pct(None, b) is None


@pytest.mark.parametrize(
    ("bids", "asks", "words"),
    [
        (levels(("99", "1"), ("100", "1")), A.asks, "bids are not in order"),
        (A.bids, levels(("100.2", "1"), ("100.1", "1")), "asks are not in order"),
        (levels(("99", "1"), ("99", "2")), A.asks, "each price once"),
        (levels(("100.1", "1")), A.asks, "not below the best ask"),
        (levels(("0", "1")), A.asks, "above 0"),
        (levels(("99", "0")), A.asks, "above 0"),
        (A.bids, levels(("101", "-1")), "above 0"),
        (A.bids, levels(("NaN", "1")), "above 0"),
    ],
)
def test_what_is_no_book_is_refused(bids: tuple[Level, ...], asks: tuple[Level, ...], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        Book(bids, asks)


def test_trades_without_a_quantity_are_refused() -> None:
    with pytest.raises(InvalidInput, match="trades"):
        vwap(levels(("100", "0")))
