from decimal import Decimal as D
from decimal import localcontext

from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from bybit.rules.candles import Category
from bybit.rules.holdings import Terms
from bybit.rules.joint import Leg, first_loss, is_lost
from bybit.rules.ledger import Position
from bybit.rules.liquidation import MarginBasis
from bybit.rules.margin import MaintenanceTier
from tests.bybit.rules.amounts import derivatives, ladders

FLAT = [MaintenanceTier(None, D("0.01"), D(0))]


def leg(size, start, end, *, tiers=FLAT, category=Category.LINEAR, basis=MarginBasis.MARK, entry="100") -> Leg:
    return Leg(Terms(category, tiers, basis, None), Position(D(size), D(entry)), D(start), D(end))


def test_the_account_is_lost_where_the_line_meets_zero() -> None:
    # 6 - 5 x 20 f = 5 - f at f = 1 / 99.
    with localcontext(prec=50):
        assert abs(first_loss(D(6), [leg("5", "100", "80")]) - D(1) / 99) < D("1e-45")


def test_an_account_without_positions_is_never_lost() -> None:
    assert first_loss(D(-5), []) is None
    assert not is_lost(D(-5), [])


def test_an_account_that_begins_lost_is_lost_at_once() -> None:
    assert first_loss(D(5), [leg("5", "100", "80")]) == 0


def test_an_account_that_ends_just_lost_is_lost_at_the_end() -> None:
    # 104 - 100 = 4 = 400 x 0.01.
    assert first_loss(D(104), [leg("5", "100", "80")]) == 1
    assert first_loss(D("104.0000001"), [leg("5", "100", "80")]) is None


def test_a_short_crosses_tiers_on_its_way_up() -> None:
    # 1 % to a value of 1,050, reached at half the way, 3 % above, chained: 31.5 - 21 = 10.5.
    tiers = [MaintenanceTier(D(1050), D("0.01"), D(0)), MaintenanceTier(None, D("0.03"), D(21))]
    position = leg("-10", "100", "110", tiers=tiers)
    assert position.tier_changes() == [D("0.5")]
    # At f = 0.75: a loss of 75, maintenance 1075 x 0.03 - 21 = 11.25.
    assert first_loss(D("86.25"), [position]) == D("0.75")
    # In the lower tier: 50 - 100 f = 10 + f at f = 40 / 101.
    assert abs(first_loss(D(50), [position]) - D(40) / 101) < D("1e-25")


def test_entry_based_maintenance_changes_no_tier_on_the_way() -> None:
    tiers = [MaintenanceTier(D(1050), D("0.01"), D(0)), MaintenanceTier(None, D("0.03"), D(21))]
    position = leg("-10", "100", "110", tiers=tiers, basis=MarginBasis.ENTRY)
    assert position.tier_changes() == []
    assert first_loss(D(60), [position]) == D("0.5")


def test_a_ladder_that_jumps_loses_the_account_at_its_bound() -> None:
    # No deduction: maintenance jumps from 10.5 to 52.5 just above a value of 1,050.
    tiers = [MaintenanceTier(D(1050), D("0.01"), D(0)), MaintenanceTier(None, D("0.05"), D(0))]
    assert first_loss(D(80), [leg("-10", "100", "110", tiers=tiers)]) == D("0.5")


def test_inverse_values_move_in_a_straight_line() -> None:
    move = leg("1000", "100", "50", category=Category.INVERSE)
    # 10 to 20 coins: half way is 15, a price of 66.67.
    with localcontext(prec=50):
        assert abs(1000 / move.price(D("0.5")) - 15) < D("1e-45")
        # 3 - 10 f = 0.1 + 0.1 f.
        assert abs(first_loss(D(3), [move]) - D("2.9") / D("10.1")) < D("1e-45")


prices = st.decimals(D(50), D(200), places=2)
legs = st.tuples(
    st.decimals(D(1), D(500), places=1), st.sampled_from([1, -1]), prices, prices, prices, st.sampled_from(MarginBasis)
)


@settings(max_examples=200, deadline=None)
@given(derivatives, st.lists(legs, min_size=1, max_size=3), ladders(), st.decimals(D(1), D(20000), places=1))
def test_nothing_on_the_way_is_lost_before_the_first_loss(category, rows, tiers, balance) -> None:
    with localcontext(prec=50):
        scale = 10_000 if category is Category.INVERSE else 1
        moves = []
        for qty, side, entry, start, end, basis in rows:
            # Toward what hurts, as in a candle.
            good, bad = (max(start, end), min(start, end)) if side > 0 else (min(start, end), max(start, end))
            kind = basis.at(0)
            moves.append(leg(qty * side * scale, good, bad, tiers=tiers, category=category, basis=kind, entry=entry))
        found = first_loss(balance, moves)
        note("lost at once" if found == 0 else "survives" if found is None else "lost on the way")
        if found is None:
            assert not any(is_lost(balance, moves, D(k) / 20) for k in range(21))
            return
        assert 0 <= found <= 1
        assert is_lost(balance + D("-1e-30"), moves, found)
        if found:
            assert not any(is_lost(balance + D("1e-30"), moves, found * k / 20) for k in range(20))
