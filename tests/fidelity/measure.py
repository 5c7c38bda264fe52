"""Measures everything the page tells; nothing here formats."""

import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bybit.backtest.engine import ENGINE_VERSION, BacktestResult
from tests.fidelity import commands
from tests.fidelity.commands import SHARED, Oracle, Said
from tests.fidelity.equality import KINDS, STOPPED, STOPPED_BY, Comparison, Question, compare, nearest, question
from tests.fidelity.ledger import Booked, book
from tests.fidelity.left_out import (
    CAPITAL,
    LEVERAGE,
    SLIPPAGE_RATE,
    VALUE,
    MakerShare,
    Step,
    crossed,
    held_long,
    maker_share,
    steps,
)
from tests.fidelity.plan import crossing
from tests.fidelity.recorded import SYMBOLS, YEAR, lender, market
from tests.fidelity.resolution import MARKS, Resolution, resolutions
from tests.peers import ENGINES, Answer, ask


@dataclass(frozen=True, slots=True)
class Size:
    """How many random scenarios the two runs of the ledger take, and their seeds."""

    n: int
    seed: int
    n_longer: int
    seed_longer: int


@dataclass(frozen=True, slots=True)
class Year:
    """What one contract's year shows."""

    symbol: str
    n_orders: int
    largest: float
    lender: str | None
    steps: list[Step]
    complete: BacktestResult
    cross: BacktestResult
    booked: dict[str, Booked]
    maker: MakerShare
    long: BacktestResult


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything on the page."""

    engine_version: str
    oracles: list[Oracle]
    fills: Said
    scenarios: list[Said]
    comparisons: list[Comparison]
    nearest: dict[str, dict[str, float]]
    years: list[Year]
    resolutions: dict[str, dict[str, list[Resolution]]]
    files: list[str]


def measure(size: Size, tell: Callable[[str], None]) -> Measured:
    """Run every command and comparison, commands beside our own runs; ``tell`` hears what is being done."""
    data = SHARED / "data"
    with ThreadPoolExecutor(1) as pool, tempfile.TemporaryDirectory() as folder:
        # One command at a time beside this process: two cores are enough.
        tell("cases, fills and scenarios, beside:")
        oracles = [pool.submit(commands.ask_oracle, *oracle) for oracle in commands.oracles()]
        fills = pool.submit(commands.recorded_fills)
        scenarios = [
            pool.submit(commands.scenarios, n, seed)
            for n, seed in ((size.n, size.seed), (size.n_longer, size.seed_longer))
        ]
        try:
            tell("our own books of the plan")
            questions = _questions(data, Path(folder))
            answers = _answers(questions, tell)
            years = [_year(data, symbol, tell) for symbol in SYMBOLS]
            tell("resolutions")
            resolved = {s: {marks: resolutions(data, s, marks) for marks in MARKS} for s in SYMBOLS}
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        return Measured(
            engine_version=ENGINE_VERSION,
            oracles=[one.result() for one in oracles],
            fills=fills.result(),
            scenarios=[_waited(one, tell) for one in scenarios],
            comparisons=[found for answer in answers for found in compare(answer, questions)],
            nearest=_nearest(answers, questions),
            years=years,
            resolutions=resolved,
            files=commands.data_files(SYMBOLS),
        )


def _waited(said: Future[Said], tell: Callable[[str], None]) -> Said:
    if not said.done():
        tell("waiting for the scenarios")
    return said.result()


def _questions(data: Path, folder: Path) -> list[Question]:
    found = []
    for symbol in SYMBOLS:
        recorded = market(data, symbol)
        plan = crossing(recorded, YEAR, VALUE)
        found += [question(recorded, YEAR, plan, kind, folder) for kind in (*KINDS, STOPPED)]
    return found


def _near_cases(questions: list[Question]) -> list[Question]:
    return [asked for asked in questions if asked.kind == "flat fee"]


def _answers(questions: list[Question], tell: Callable[[str], None]) -> list[Answer]:
    near = [nearest(asked, CAPITAL, LEVERAGE, SLIPPAGE_RATE) for asked in _near_cases(questions)]
    found = []
    for engine in ENGINES:
        tell(engine)
        asked = [one.case for one in questions if one.kind != STOPPED or engine in STOPPED_BY]
        found.append(ask(engine, [*asked, *near]))
    return found


def _nearest(answers: list[Answer], questions: list[Question]) -> dict[str, dict[str, float]]:
    return {
        answer.engine: {
            asked.symbol: answer.books[nearest(asked, CAPITAL, LEVERAGE, SLIPPAGE_RATE).name].net
            for asked in _near_cases(questions)
        }
        for answer in answers
    }


def _year(data: Path, symbol: str, tell: Callable[[str], None]) -> Year:
    tell(f"the rules one after the other on {symbol}")
    recorded = market(data, symbol)
    plan = crossing(recorded, YEAR, VALUE)
    found, complete = steps(recorded, YEAR, plan)
    cross = crossed(recorded, YEAR, plan)
    return Year(
        symbol=symbol,
        n_orders=plan.n_orders,
        largest=float(plan.target.abs().max()),
        lender=lender(symbol),
        steps=found,
        complete=complete,
        cross=cross,
        booked={name: book(one, recorded, LEVERAGE) for name, one in (("isolated", complete), ("cross", cross))},
        maker=maker_share(recorded, YEAR, plan),
        long=held_long(recorded, YEAR),
    )
