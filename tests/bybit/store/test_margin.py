from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.margin import RiskTier
from bybit.store import Store
from tests.bybit.store.examples import START, ladder


def test_a_ladder_comes_back_whole_and_exact(store: Store) -> None:
    sent = ladder()
    assert store.risk_tiers.write([*ladder("ETHUSDT"), *sent[::-1]]) == 2
    assert store.risk_tiers.get("BTCUSDT") == tuple(sent)


def test_the_top_tier_may_have_no_bound(store: Store) -> None:
    sent = ladder()
    sent[-1] = replace(sent[-1], max_notional=None)
    store.risk_tiers.write(sent)
    assert store.risk_tiers.get("BTCUSDT")[-1].max_notional is None


def test_a_shorter_ladder_of_a_later_date_leaves_no_tier_of_the_old_one(store: Store) -> None:
    later = START + timedelta(days=5)
    store.risk_tiers.write(ladder(n_tiers=4))
    store.risk_tiers.write(ladder(as_of=later, n_tiers=2))
    assert len(store.risk_tiers.get("BTCUSDT")) == 2
    assert len(store.risk_tiers.get("BTCUSDT", later - timedelta(seconds=1))) == 4
    store.risk_tiers.write(ladder(n_tiers=1))
    assert len(store.risk_tiers.get("BTCUSDT", START)) == 1


def test_an_unchanged_ladder_is_not_stored_again(store: Store) -> None:
    store.risk_tiers.write(ladder())
    assert store.risk_tiers.write(ladder(as_of=START + timedelta(days=1))) == 0


@pytest.mark.parametrize(
    ("tiers", "says"),
    [
        (ladder()[1:], "expected 1 to 2"),
        ([*ladder(), replace(ladder()[2], tier=4)], "do not rise"),
        ([replace(ladder()[0], max_notional=None), *ladder()[1:]], "do not rise"),
    ],
)
def test_half_a_ladder_is_refused(tiers: list[RiskTier], says: str, store: Store) -> None:
    with pytest.raises(InvalidInput, match=says):
        store.risk_tiers.write(tiers)
    with pytest.raises(NotEstablished):
        store.risk_tiers.get("BTCUSDT")


def test_an_early_date_has_no_ladder(store: Store) -> None:
    store.risk_tiers.write(ladder())
    with pytest.raises(NotEstablished, match="as of 2025-02-28"):
        store.risk_tiers.get("BTCUSDT", START - timedelta(days=1))
    assert store.risk_tiers.get("BTCUSDT", START)[0].mm_deduction == Decimal(0)


def test_every_ladder_of_a_symbol_is_kept_with_its_day(store: Store) -> None:
    later = START + timedelta(days=5)
    store.risk_tiers.write([*ladder(as_of=later, n_tiers=2), *ladder("ETHUSDT")])
    store.risk_tiers.write(ladder(n_tiers=4))
    assert [(tier.as_of, tier.tier) for tier in store.risk_tiers.history("BTCUSDT")] == [
        *((START, number) for number in (1, 2, 3, 4)),
        *((later, number) for number in (1, 2)),
    ]
    assert store.risk_tiers.history("SOLUSDT") == ()
