"""Other back-testers on the same candles and the same plan, each in the peers' own environment.

``.venv-peers`` (``make peers``, from requirements/peers.lock) never meets the product's: a runner is a script of its
own, started by that interpreter, and speaks JSON. A request holds cases (see ``Case``); a runner prints one JSON
object with the engine's name and version and, for each case, net profit and trades (see ``Books``).
"""

import json
import os
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-peers" / "bin" / "python"
ENGINES = ("vectorbt", "backtesting", "nautilus_trader")
ABSENT = ".venv-peers is not here: `make peers` sets it up; the recorded figures are in docs/fidelity.md"


@dataclass(frozen=True, slots=True)
class Case:
    """One plan on one market.

    ``candles`` is a Parquet file with columns open_time (ms UTC), open, high, low, close, volume and target: the
    position in base coin decided at that candle's close, to be traded at the next open; a column stop, if there, is the
    price at which that position is given up (NaN: none). ``capital`` is quote coin,
    ``fee_rate`` a fraction of the traded value, ``tick_size`` and ``qty_step`` are decimal text. ``leverage`` and
    ``slippage_rate`` (a fraction of the price) are used as far as an engine knows such a thing.
    """

    name: str
    candles: str
    symbol: str
    interval: str
    tick_size: str
    qty_step: str
    capital: float
    fee_rate: float
    leverage: float = 1.0
    slippage_rate: float = 0.0


@dataclass(frozen=True, slots=True)
class Trade:
    """One round trip: times in ms UTC, side +1 or -1, qty base coin, money in quote coin; ``fees`` are positive."""

    entry_ms: int
    exit_ms: int
    side: int
    qty: float
    entry_price: float
    exit_price: float
    net_pnl: float
    fees: float


@dataclass(frozen=True, slots=True)
class Books:
    """What an engine made of one case; the plan ends flat, so final equity is cash. ``stopped`` is its own reason."""

    net: float
    trades: tuple[Trade, ...]
    stopped: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """One engine's books by case name."""

    engine: str
    version: str
    books: dict[str, Books]


def ask(engine: str, cases: list[Case]) -> Answer:
    """Run every case in one engine.

    Raises
    ------
    RuntimeError
        When the runner failed; carries the end of what it wrote.
    """
    with tempfile.TemporaryDirectory() as folder:
        request = Path(folder) / "request.json"
        request.write_text(json.dumps([asdict(case) for case in cases]))
        script = Path(__file__).parent / f"run_{engine}.py"
        # The runner's folder comes first on its path, and nothing of ours belongs on the peers'.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [PYTHON, "-W", "ignore", script, request], capture_output=True, text=True, env=environment, check=False
        )
    if done.returncode:
        raise RuntimeError(f"{script.name} ended with {done.returncode}: {done.stderr[-2000:]}")
    reply = json.loads(done.stdout.splitlines()[-1])
    books = {
        name: Books(found["net"], tuple(Trade(*trade) for trade in found["trades"]), found.get("stopped", ""))
        for name, found in reply["cases"].items()
    }
    return Answer(reply["engine"], reply["version"], books)
