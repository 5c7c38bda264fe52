"""Ten thousand random accounts: whatever the kernel books, the ``Decimal`` ledger books to a relative 1e-9."""

from collections import Counter

import pytest

from tests.scenarios.compared import compare_all

SEED, N, PARTS = 20_251, 10_000, 4


@pytest.mark.parametrize("part", range(PARTS))
def test_the_kernel_books_what_the_ledger_books_in_ten_thousand_random_accounts(part):
    each = N // PARTS
    worst, events, failed = compare_all(each, SEED, part * each)
    assert failed == []
    assert worst <= 1e-9
    # A comparison of accounts in which nothing happens would prove nothing.
    assert {kind for kind, n in Counter(events).items() if n >= 10} >= {
        "cross", "isolated", "inverse", "linear",
        "fill_market", "fill_limit", "fill_trigger", "fill_stop", "fill_take_profit", "fill_trailing", "flip",
        "funding", "liquidation_takeover", "liquidation_step_down", "liquidation_cross", "gap_through_bankruptcy",
        "rejected_margin", "rejected_reduce_only",
    }  # fmt: skip


def test_the_same_seed_gives_the_same_comparison():
    assert compare_all(20, 5) == compare_all(20, 5)
