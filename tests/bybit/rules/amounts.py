"""Amounts as the venue trades them: what the property tests draw from."""

from decimal import Decimal

from hypothesis import strategies as st

from bybit.rules.candles import Category
from bybit.rules.margin import MaintenanceTier, mm_deductions

D = Decimal

prices = st.decimals(D("0.0001"), D("200000"), places=4)
quantities = st.decimals(D("0.001"), D("1000"), places=3)
sizes = st.tuples(quantities, st.sampled_from([1, -1])).map(lambda pair: pair[0] * pair[1])
leverages = st.decimals(D(1), D(100), places=2)
rates = st.decimals(D("-0.0075"), D("0.0075"), places=6)
derivatives = st.sampled_from([Category.LINEAR, Category.INVERSE])


# From coin-margined values to the largest ladders.
_BOUNDS = st.one_of(*(st.decimals(D(10) ** k, D(10) ** (k + 2), places=4) for k in (-3, -1, 1, 3, 5, 7)))


@st.composite
def ladders(draw: st.DrawFn) -> list[MaintenanceTier]:
    """Draw a ladder whose deductions chain, the top tier unbounded."""
    bounds = sorted(draw(st.sets(_BOUNDS, max_size=5)))
    n_tiers = len(bounds) + 1
    steps = draw(st.lists(st.decimals(D("0.001"), D("0.05"), places=3), min_size=n_tiers, max_size=n_tiers))
    maintenance = [sum(steps[: i + 1], D(0)) for i in range(n_tiers)]
    deductions = mm_deductions([*bounds, None], maintenance)
    return [
        MaintenanceTier(bound, rate, deduction)
        for bound, rate, deduction in zip([*bounds, None], maintenance, deductions, strict=True)
    ]
