"""Where market data comes from: the live venue, a sandbox started for the run, or any v5 endpoint."""

import hashlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from prefect import task

from bybit.client.errors import BybitError
from bybit.client.rest import BybitClient
from bybit.client.retries import RetryPolicy
from bybit.client.transport import Timeout
from bybit.rules.candles import Category, Interval, PriceType, SeriesKey
from bybit.rules.errors import InvalidInput
from bybit.rules.instruments import Instrument
from bybit.rules.periods import Period, to_ms, utc
from bybit.sandbox import Maintenance, SandboxConfig, serve
from bybit.sandbox.market import Market, Window
from bybit.sandbox.tape import load_tape
from tasks.connections import LIVE_ORIGIN, LIVE_URL, client
from tasks.matrix import most_in_common
from tasks.plans import PipelineRequest, Source, Span, SymbolPlan, one_settle_coin
from tasks.processes import ProcessFailed, Supervised

_LIVE_ANSWERS_WITHIN = Timeout(connect_s=2.0, read_s=2.0, total_s=4.0)
_SANDBOX_READY_WITHIN_S = 60.0
_SEED = 7
_DEFAULT_LOOKBACK = timedelta(days=365)
# A tape is history: all of it lies before this instant.
_EVER_MS = 4_102_444_800_000
_ALL = 10**9
_APART_MS = 30 * 86_400_000
# Of inverse contracts one: each settles in its own coin, and a run counts in one.
_DEFAULT_SYMBOLS = {Category.LINEAR: ("BTCUSDT", "ETHUSDT", "SOLUSDT"), Category.INVERSE: ("BTCUSD",)}


@contextmanager
def open_source(wanted: str, tape: str | None, home: Path) -> Iterator[Source]:
    """Yield the source ``wanted`` (auto, live, sandbox or a URL); a sandbox lives as long as the block.

    ``auto`` is the live venue when it answers and no tape is asked for, else the sandbox.

    Raises
    ------
    InvalidInput
        For any other word, or a tape together with a source that cannot replay it.
    """
    if wanted not in ("auto", "live", "sandbox") and "://" not in wanted:
        raise InvalidInput(f"source {wanted!r} is unknown: use auto, live, sandbox or the URL of a v5 endpoint")
    if tape is not None and wanted not in ("auto", "sandbox"):
        raise InvalidInput(f"a tape is replayed by the sandbox: --source {wanted} cannot use {tape}")
    if "://" in wanted:
        yield source_of(wanted)
    elif wanted == "live" or (wanted == "auto" and tape is None and live_answers()):
        yield source_of(LIVE_URL)
    else:
        with _sandbox(tape, home) as source:
            yield source


def source_of(base_url: str | None) -> Source:
    """Return the source behind an address; None is the live venue.

    Two markets served at one address at different times cannot be told apart: use another address or database.
    """
    url = (base_url or LIVE_URL).rstrip("/")
    if url == LIVE_URL:
        return Source(kind="live", base_url=url, origin=LIVE_ORIGIN)
    return Source(kind="url", base_url=url, origin=f"url-{re.sub(r'[^A-Za-z0-9.]+', '-', url.partition('://')[2])}")


def live_answers() -> bool:
    """Return whether Bybit's main host tells its time to this machine within a few seconds."""
    probe = BybitClient(base_urls=[LIVE_URL], retry=RetryPolicy(n_tries=1), timeout=_LIVE_ANSWERS_WITHIN)
    try:
        probe.server_time()
    except BybitError:
        return False
    finally:
        probe.close()
    return True


@contextmanager
def _sandbox(tape: str | None, home: Path) -> Iterator[Source]:
    folder = _tape_folder(tape)
    command = [sys.executable, "-m", "flows.cli", "sandbox", "--port", "0", "--seed", str(_SEED)]
    command += ["--tape", str(folder or "synthetic")]
    with Supervised(command, home / "logs" / "sandbox.log", capture_stdout=True) as process:
        line = process.read_line(_SANDBOX_READY_WITHIN_S)
        try:
            ready = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise ProcessFailed(f"the sandbox said {line[:200]!r} instead of its ready line") from error
        yield Source(
            kind="sandbox",
            base_url=ready["url"],
            origin=f"synthetic-{_SEED}" if folder is None else f"tape-{_digest(folder)}",
            tape=str(folder) if folder else None,
            assumptions=tuple(ready["assumptions"]),
        )


def serve_sandbox(tape: str | None, closed: Sequence[Period], settings: Mapping[str, Any]) -> None:
    """Serve the local exchange until it is told to stop, shut for maintenance while ``closed``.

    ``settings`` are ``SandboxConfig``'s.
    """
    shut = tuple(Maintenance(period) for period in closed)
    serve(SandboxConfig(tape=_tape_folder(tape), maintenances=shut, **settings))


def _digest(tape: Path) -> str:
    content = hashlib.sha256()
    for file in sorted(tape.rglob("*.parquet")) if tape.is_dir() else [tape]:
        content.update(file.name.encode())
        content.update(hashlib.sha256(file.read_bytes()).digest())
    return content.hexdigest()[:12]


def _tape_folder(tape: str | None) -> Path | None:
    if tape in (None, "", "synthetic"):
        return None
    folder = Path(str(tape)).resolve()
    if not folder.exists():
        raise InvalidInput(f"tape {tape} is not there: give a folder with klines/ and funding/, or 'synthetic'")
    if folder.is_dir() and next(folder.rglob("*.parquet"), None) is None:
        raise InvalidInput(f"tape {tape} holds no Parquet file: expected klines/*.parquet and funding/*.parquet")
    return folder


@task(task_run_name="plan-symbols")
def plan_symbols(source: Source, request: PipelineRequest) -> list[SymbolPlan]:
    """Decide what to fetch: every symbol's series and the span of each. Reads only.

    Raises
    ------
    InvalidInput
        When a symbol is not there, or they settle in several coins.
    """
    plans = _plans(source, request, Interval.parse(request.interval))
    one_settle_coin(plans)
    return plans


def _plans(source: Source, request: PipelineRequest, interval: Interval) -> list[SymbolPlan]:
    if source.tape is not None:
        return _plans_of_tape(load_tape(Path(source.tape)), request, interval)
    if source.kind == "sandbox" and request.category is not Category.LINEAR:
        raise InvalidInput(
            f"the synthetic market has no {request.category} contracts: give --tape with files such as"
            f" klines/bybit_{request.category}_BTCUSD_15m.parquet, or --source live"
        )
    venue = client(source.base_url)
    # Whole UTC days: a run that is repeated the same day asks for the same span and finds its results again.
    end = utc(Interval.DAY_1.floor_ms(to_ms(venue.server_time())))
    start = end - (request.lookback or _DEFAULT_LOOKBACK)
    detail = request.terms.detail_of(request.interval)
    wanted = request.symbols or _DEFAULT_SYMBOLS[request.category]
    listed = [_listed(venue, request.category, symbol) for symbol in wanted]
    plans = [_plan_of_venue(venue, instrument, interval, start, end, detail) for instrument in listed]
    return [plan for plan in plans if plan is not None]


def _listed(venue: BybitClient, category: Category, symbol: str) -> Instrument:
    listed = venue.get_instruments(category, symbol)
    if not listed:
        raise InvalidInput(f"the venue lists no {category} contract {symbol}")
    return listed[0]


def _plan_of_venue(
    venue: BybitClient,
    instrument: Instrument,
    interval: Interval,
    start: datetime,
    end: datetime,
    detail: Interval | None,
) -> SymbolPlan | None:
    category, symbol, launch = instrument.category, instrument.symbol, instrument.launch_time
    first = start if launch is None or launch <= start else utc(interval.close_ms(interval.floor_ms(to_ms(launch))))
    if first >= end:
        raise InvalidInput(
            f"{symbol} was listed {first:%Y-%m-%d %H:%M}: there is no whole day of it before {end:%Y-%m-%d}"
        )
    span = Span.of(Period(first, end))

    def candles(price: PriceType, length: Interval) -> Span | None:
        if price is PriceType.LAST:
            return span
        # A venue has mark candles of every length; a sandbox may replay a tape that has only longer ones.
        since = max(first, end - 100 * length.length)
        newest = venue.get_kline_data(symbol, length, since, end, category=category, price=price)
        return span if len(newest.candles.open_time_ms) else None

    return SymbolPlan.of(instrument, interval, candles, span, detail)


def _plans_of_tape(tape: Market, request: PipelineRequest, interval: Interval) -> list[SymbolPlan]:
    recorded = {instrument.symbol: instrument for instrument in tape.instruments(request.category, _EVER_MS)}
    wanted, detail = request.symbols or tuple(recorded), request.terms.detail_of(request.interval)
    found = [_plan_of_tape(tape, recorded[symbol], interval, detail) for symbol in wanted if symbol in recorded]
    plans = [plan for plan in found if plan is not None]
    planned = {plan.symbol for plan in plans}
    if absent := [symbol for symbol in request.symbols if symbol not in planned]:
        raise InvalidInput(
            f"the tape has no {_lengths(interval, detail)} candles of {', '.join(absent)}, nor finer ones to build"
            f" them from; of {request.category} contracts it holds {', '.join(recorded) or 'none'}"
        )
    if not request.symbols:
        # Nobody asked for one by name: what can be charged funding and liquidated, and compared over the same time.
        whole = [plan for plan in plans if plan.mark is not None and plan.funding is not None]
        plans = most_in_common(whole, request.tiers)
    if not plans:
        lengths = _lengths(interval, detail)
        raise InvalidInput(
            f"no {request.category} contract of the tape has {lengths} candles, mark prices and funding together"
        )
    if request.lookback is None:
        return plans
    start = max(plan.candles.end for plan in plans) - request.lookback
    cut = [part for plan in plans if (part := _cut(plan, start)) is not None]
    left = {plan.symbol for plan in cut}
    if ended := [plan.symbol for plan in plans if plan.symbol not in left]:
        raise InvalidInput(
            f"the tape of {', '.join(ended)} ends before {start:%Y-%m-%d}, where the last {request.lookback.days} days"
            " of the other symbols begin: leave it out, or ask for more days"
        )
    return cut


def _plan_of_tape(
    tape: Market, instrument: Instrument, interval: Interval, detail: Interval | None
) -> SymbolPlan | None:
    def candles(price: PriceType, length: Interval) -> Span | None:
        return _candle_span(tape, SeriesKey(instrument.category, instrument.symbol, price, length))

    return SymbolPlan.of(instrument, interval, candles, _funding_span(tape, instrument), detail)


def _lengths(interval: Interval, detail: Interval | None) -> str:
    return interval.value if detail is None else f"{interval.value} and {detail.value}"


def _candle_span(tape: Market, key: SeriesKey) -> Span | None:
    times = tape.candles(key, Window(0, None, _ALL), _EVER_MS)[:, 0]
    if not len(times):
        return None
    # A tape may hold recordings of one series that lie months apart; the longest one is replayed. Shorter absences
    # are gaps of one recording: those stay inside, for the data checks to judge.
    recordings = np.split(times, np.flatnonzero(np.diff(times) > _APART_MS) + 1)
    longest = max(recordings, key=len)
    return Span.of(Period.from_ms(int(longest[0]), key.interval.close_ms(int(longest[-1]))))


def _funding_span(tape: Market, instrument: Instrument) -> Span | None:
    oldest = tape.funding(instrument.category, instrument.symbol, Window(0, None, 1), _EVER_MS)
    newest = tape.funding(instrument.category, instrument.symbol, Window(None, None, 1), _EVER_MS)
    if not newest:
        return None
    # The settlement itself belongs to the span, and the rate accrued over the hours before it.
    return Span(start=oldest[0].funding_time, end=newest[-1].funding_time + timedelta(milliseconds=1))


def _cut(plan: SymbolPlan, start: datetime) -> SymbolPlan | None:
    def later(span: Span | None) -> Span | None:
        if span is None or span.end <= start:
            return None
        return Span(start=max(span.start, start), end=span.end)

    candles = later(plan.candles)
    if candles is None:
        return None
    others = {"mark": later(plan.mark), "funding": later(plan.funding), "detail": later(plan.detail)}
    return plan.model_copy(update={"candles": candles, **others})
