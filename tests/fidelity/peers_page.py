"""The page's sections on other back-testers: how each was set up, where it agrees, what it leaves out in money."""

from bybit.backtest.engine import BacktestResult
from tests.fidelity.equality import CAPITAL as EQUAL_CAPITAL
from tests.fidelity.equality import FLAT_FEE, KINDS, STOPPED, Comparison
from tests.fidelity.left_out import CAPITAL, LEVERAGE, SLIPPAGE_RATE, VALUE
from tests.fidelity.measure import Measured, Year
from tests.fidelity.plan import BAND, FAST_HOURS, LIMIT_INSIDE, SLOW_HOURS, STOP_DISTANCE
from tests.fidelity.recorded import YEAR
from tests.fidelity.tables import amount, money, small, table
from tests.fidelity.verdict import Verdict

SETUP = (
    (
        "ours",
        "exposures that come to the planned quantity, market orders at the next open",
        "1x isolated, maintenance margin off, funding off",
    ),
    (
        "vectorbt",
        "`Portfolio.from_orders`, target amounts shifted by one row, `price=open`, both directions in one portfolio",
        "cash only; a refused order would raise",
    ),
    (
        "backtesting.py",
        "`buy` and `sell` in `next()`, filled at the next open (`trade_on_close=False`); whole units, so quantities "
        "with "
        "decimals go through its own `FractionalBacktest`",
        "`margin=1`, one netted position",
    ),
    (
        "nautilus_trader",
        "a strategy on closed bars with market orders on a netting venue. It fills at the price that stands when the "
        "order "
        "arrives, so each open is a quote at its instant and the closed bar follows a nanosecond later; bars fill "
        "nothing "
        "themselves",
        "margin account; trades from `PositionClosed` events, because its cache forgets a position that one order "
        "turns "
        "over",
    ),
)

RULES = (
    ("one fee for everything", "yes", "yes", "yes"),
    ("maker and taker fees", "by hand", "no", "yes"),
    ("fees by date", "by hand, an array", "no", "by hand, a fee model of one's own"),
    ("slippage", "a rate", "a spread at the entry", "through quotes or a fill model"),
    ("whole lots", "yes", "yes", "yes"),
    ("prices on ticks", "no", "no", "yes"),
    ("funding", "no", "no", "no: it carries the rates, its venue settles none"),
    ("initial margin, refused orders", "cash only", "yes, at one rate", "margin is shown, no order refused for it"),
    ("maintenance margin by tier, liquidation by mark price", "no", "no: it stops when equity is gone", "no"),
)


def verdict(found: list[Comparison]) -> Verdict:
    """Return whether every engine agrees everywhere."""
    n_trades = sum(len(one.theirs.trades) for one in found)
    worst = max(max(one.equity_difference, one.trade_difference) for one in found)
    figure = f"{len(found)} comparisons, {n_trades:,} trades, largest relative difference {small(worst)}"
    return Verdict("the same plan in other engines", figure, all(one.equal for one in found))


def sections(measured: Measured) -> list[str]:
    """Return sections 4 and 5."""
    return [*_equality(measured), *_left_out(measured)]


def _equality(measured: Measured) -> list[str]:
    rows = [
        (
            one.question.case.symbol,
            one.question.kind,
            one.engine,
            str(len(one.theirs.trades)),
            f"{one.question.ours.net:,.8f}",
            f"{one.theirs.net:,.8f}",
            small(one.equity_difference),
            small(one.trade_difference) if one.same_times else "other trades",
        )
        for symbol in (year.symbol for year in measured.years)
        for kind in (*KINDS, STOPPED)
        for one in measured.comparisons
        if (one.question.symbol, one.question.kind) == (symbol, kind)
    ]
    plans = "; ".join(f"{year.symbol} {year.n_orders} orders of up to {year.largest:g}" for year in measured.years)
    head = ["contract", "case", "engine", "trades", "our net profit", "theirs", "equity differs by", "any trade by"]
    return [
        "## 4 The same plan in four engines",
        f"Hourly candles of {YEAR}, the latest year in which candles, marks and funding of both contracts are "
        f"recorded. "
        f"The plan: long when the mean close of {FAST_HOURS} hours is above that of {SLOW_HOURS}, short when below, "
        f"flat "
        f"while they are within {BAND:.2%}; a fixed quantity worth {amount(VALUE)} at the first open; decided at a "
        f"close, "
        f"traded at the next open, flat at the end. {plans}. Every engine is given the same positions and computes "
        f"fills, "
        f"trades, fees and equity itself, with {amount(EQUAL_CAPITAL)} of capital and a fee of {FLAT_FEE} where "
        f"there is "
        "one.",
        table(["engine", "orders", "account"], SETUP),
        table(head, rows, numbers=(3, 4, 5, 6, 7)),
        "Equity differences are per capital, trade differences per value entered (prices and quantities in "
        "themselves); "
        f"1e-9 is asked for. Protective stops stand {STOP_DISTANCE:.0%} from the close that decided the position and "
        f"may be "
        "hit in the entry's own candle. backtesting.py fills them as we do, at the stop or at a worse open, once the "
        "old "
        "stop is withdrawn with the decision to leave (it judges stops before the market order at the open). vectorbt "
        "looks at a stop from the candle after the entry on, and nautilus_trader is given no prices inside the candle "
        "here, so neither is asked. nautilus_trader keeps money to 8 decimals, which is all that separates it.",
    ]


def _left_out(measured: Measured) -> list[str]:
    first = measured.years[0]
    names = [year.symbol for year in measured.years]
    rows = [
        [step.rule, *(cell for year in measured.years for cell in _step(year, place))]
        for place, step in enumerate(first.steps)
    ]
    rows.append(["**complete**", *(cell for year in measured.years for cell in ("", f"**{money(_last(year))}**"))])
    head = ["rule switched on", *(cell for name in names for cell in (f"{name}: the rule makes", "net profit"))]
    return [
        "## 5 What they leave out, and the money it makes",
        f"The same plan and year with {amount(CAPITAL)} of capital, {LEVERAGE:g}x isolated, slippage of "
        f"{SLIPPAGE_RATE:.2%} on what takes, tier vip0. Our engine starts at what all four agree on (flat fee) and "
        f"gets one "
        "rule after the other, so that the lines add up to the whole difference. Until margin counts, the capital "
        "changes "
        "no figure, because quantities are fixed.",
        table(head, rows, numbers=tuple(range(1, len(head)))),
        _happened(measured),
        "The complete engine's own breakdown, and the same with the whole account standing for the position (cross):",
        table(
            [
                *("contract", "margin", "gross", "taker fees", "funding", "slippage"),
                *("liquidations", "lost by them", "refused", "net profit"),
            ],
            [_costs(year.symbol, result) for year in measured.years for result in (year.complete, year.cross)],
            numbers=tuple(range(2, 10)),
        ),
        "Which of these a peer can be told (read in the installed versions; *by hand* means the user computes it):",
        table(["rule", "vectorbt", "backtesting.py", "nautilus_trader"], RULES),
        f"Each peer set as near as it goes, with {amount(CAPITAL)} and {LEVERAGE:g}x (vectorbt knows no margin: it "
        f"is given "
        "the borrowed cash), flat fee and slippage:",
        table(["engine", *names], _nearest(measured), numbers=tuple(range(1, 1 + len(names)))),
        _matches(measured),
        f"Maker and taker: the plan asked with post-only limits {LIMIT_INSIDE:.1%} inside the last close. A flat "
        f"taker fee "
        "charges too much:",
        table(
            ["contract", "maker fills", "their value", "fees by side", "fees at one rate", "too much"],
            [_maker(year) for year in measured.years],
            numbers=(1, 2, 3, 4, 5),
        ),
        f"Held long for the whole year (the same {amount(VALUE)} at the first open, no leverage), where funding is the "
        "largest cost:",
        table(
            ["contract", "price gain", "fees", "funding paid", "settlements", "net profit"],
            [_long(year) for year in measured.years],
            numbers=(1, 2, 3, 4, 5),
        ),
    ]


def _step(year: Year, place: int) -> tuple[str, str]:
    step = year.steps[place]
    return ("" if place == 0 else money(step.money), money(step.net))


def _costs(symbol: str, result: BacktestResult) -> tuple[str, ...]:
    costs = result.costs
    return (
        symbol,
        str(result.provenance["margin_mode"]),
        money(costs.gross),
        amount(costs.taker_fees),
        amount(costs.funding),
        amount(costs.slippage),
        str(len(result.liquidations)),
        amount(costs.liquidation_loss),
        str(result.rejected_orders),
        money(costs.net),
    )


def _last(year: Year) -> float:
    return year.steps[-1].net


def _happened(measured: Measured) -> str:
    found = []
    for year in measured.years:
        words = "; ".join(f"{step.rule}: {step.happened}" for step in year.steps if step.happened)
        found.append(f"- {year.symbol}: {words}.")
    dated = (
        "The rates of vip0 did not change in that year and the plan only takes, so fees by date and side make nothing."
    )
    return "\n".join([dated, "", *found])


def _nearest(measured: Measured) -> list[list[str]]:
    rows = [
        [engine, *(money(nets[year.symbol]) for year in measured.years)] for engine, nets in measured.nearest.items()
    ]
    return [*rows, ["**ours, complete**", *(f"**{money(_last(year))}**" for year in measured.years)]]


def _matches(measured: Measured) -> str:
    """Say which peers stand exactly on one of our steps: the steps are then held by somebody else's program too."""
    found = []
    for engine, nets in measured.nearest.items():
        for step in measured.years[0].steps:
            nets_of_step = {
                year.symbol: next(s.net for s in year.steps if s.rule == step.rule) for year in measured.years
            }
            if all(abs(nets[symbol] - net) <= 1e-9 * VALUE for symbol, net in nets_of_step.items()):
                found.append(f"{engine} comes out exactly at our step *{step.rule}*")
                break
    tail = (
        "backtesting.py cancels orders that its one margin rate does not cover, and charges its spread at entries only."
    )
    return ". ".join([*found, tail]) if found else tail


def _maker(year: Year) -> tuple[str, ...]:
    share = year.maker
    return (
        year.symbol,
        str(share.n_maker_fills),
        amount(share.maker_value),
        amount(share.fees),
        amount(share.fees_if_flat),
        amount(share.fees_if_flat - share.fees),
    )


def _long(year: Year) -> tuple[str, ...]:
    costs = year.long.costs
    fees = costs.maker_fees + costs.taker_fees
    return (
        year.symbol,
        money(costs.gross),
        amount(fees),
        amount(costs.funding),
        str(len(year.long.funding)),
        money(costs.net),
    )


def assumptions(measured: Measured) -> list[str]:
    """Return section 7."""
    lines = [
        "What a full candle leaves open is decided against the account; funding is charged at the recorded rate and "
        "mark.",
        "Slippage is an assumption, the same in every engine that knows it; nobody recorded the books of that year.",
    ]
    for year in measured.years:
        if year.lender is not None:
            lines.append(
                f"No margin ladder and no contract rules of {year.symbol} are recorded: the ladder of {year.lender} "
                f"stands "
                "in (the first tiers matter here), tick and quantity step are read off its prices."
            )
        lines += [
            f"{year.symbol}, said by the result itself: {name.replace('_', ' ')}: {words}."
            for name, words in (year.complete.assumptions | year.cross.assumptions).items()
        ]
    files = ", ".join(f"`{name}`" for name in measured.files)
    return [
        "## 7 What is assumed",
        "\n".join(f"- {line}" for line in lines),
        f"Recorded data read for sections 4 to 6: {files}.",
    ]
