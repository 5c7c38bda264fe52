"""The models of slippage as words: what they accept, and that their texts lead back to them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit.backtest.slippage import Slippage
from bybit.rules.errors import InvalidInput

rates = st.floats(0.0, 0.04999)
models = st.one_of(
    rates.map(Slippage.fixed),
    rates.map(Slippage.spread),
    st.builds(Slippage.volume_share, st.floats(0.0, 0.9), rates),
    st.one_of(st.none(), rates).map(Slippage.quotes),
)


@given(models)
def test_the_text_of_a_model_leads_back_to_it(model):
    assert Slippage.parse(str(model)) == model


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("fixed:0.0002", Slippage.fixed(0.0002)),
        ("spread:1e-4", Slippage.spread(0.0001)),
        ("volume_share:0.1", Slippage.volume_share(0.1)),
        ("volume_share:0.1:0.0001", Slippage.volume_share(0.1, 0.0001)),
        ("quotes", Slippage.quotes()),
        ("quotes:0.0002", Slippage.quotes(0.0002)),
    ],
)
def test_every_form_can_be_typed(text, model):
    assert Slippage.parse(text) == model


@pytest.mark.parametrize(
    "text", ["", "fixed", "fixed:", "fixed:a", "fixed:1:2", "quotes:1:2", "magic:0.1", "volume_share", "0.0002"]
)
def test_a_text_that_is_no_model_is_refused_with_the_forms(text):
    with pytest.raises(InvalidInput, match="slippage"):
        Slippage.parse(text)


@pytest.mark.parametrize("rate", [-0.1, 0.05, 5.0, float("nan"), float("inf")])
def test_a_rate_that_is_no_small_fraction_is_refused(rate):
    for make in (Slippage.fixed, Slippage.spread, Slippage.quotes):
        with pytest.raises(InvalidInput, match="slippage_rate"):
            make(rate)


@pytest.mark.parametrize("impact", [-0.1, 0.91, float("nan")])
def test_an_impact_that_is_none_is_refused(impact):
    with pytest.raises(InvalidInput, match="impact"):
        Slippage.volume_share(impact)
