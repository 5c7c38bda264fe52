"""The venue's bad days: which fault hits which request, decided by a seed, so that a run can be had again.

A fault hits a share of the requests it applies to (``rate``) or the n-th of them (``nth``). Every entry counts for
itself and draws from the seed, its place in the plan and the count alone: the same seed and the same sequence of
requests meet the same faults, whatever the clock says.
"""

import hashlib
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import orjson

from bybit.rules.errors import InvalidInput

DEFAULT_RATE = 0.05
"""Share of requests that a fault named without a rate hits."""

_MAX_LOG = 10_000
_PLAN_KEYS = {"seed", "faults"}
_ENTRY_KEYS = {"fault", "rate", "nth", "path", "method", "after_s", "for_s"}
_NAMED = re.compile(r"([a-z0-9-]+)(?:=([0-9.]+))?")
_SCHEDULE_CAP = 1_000_000


@dataclass(frozen=True, slots=True)
class Kind:
    """One fault there is: what it does, which requests it applies to unless told otherwise, and its settings."""

    text: str
    method: str = "*"
    path: str = "/v5/*"
    settings: Mapping[str, int | str | bool] = field(default_factory=dict)
    of_streams: bool = False


KINDS: Mapping[str, Kind] = {
    "latency": Kind("the reply comes `ms` late", settings={"ms": 1000}),
    "timeout": Kind(
        "no reply within `ms`, then the connection is reset; the venue acts first where `applied`",
        settings={"ms": 60_000, "applied": False},
    ),
    "reset": Kind("the connection is reset in the middle of the body; the venue has acted"),
    "truncated-json": Kind("a whole reply whose JSON breaks off", "GET"),
    "html": Kind("a page of HTML with status 200 instead of the reply", "GET"),
    "server-error": Kind(
        "HTTP `status` with a page of HTML; the venue acts first where `applied`",
        settings={"status": 502, "applied": False},
    ),
    "ban": Kind("HTTP 403 now and for everything in the next `ms` of the sandbox's clock", settings={"ms": 600_000}),
    "rate-limit": Kind(
        "retCode 10006, the reset header `soon` (in a second), `missing`, `past` or `absurd` (in ten hours)",
        settings={"reset": "soon"},
    ),
    "clock": Kind(
        "the venue's clock is `offset_ms` ahead (negative: behind) for the next `ms`: 10002 for whoever does not "
        "follow /v5/market/time",
        settings={"offset_ms": 20_000, "ms": 60_000},
    ),
    "duplicate-rows": Kind("a page repeats rows", "GET"),
    "overlapping-page": Kind("a page repeats rows of the page before it, outside what was asked", "GET"),
    "out-of-order": Kind("a page's rows are shuffled", "GET"),
    "short-page": Kind("a page lacks its older half", "GET"),
    "empty-page": Kind("a page without rows", "GET"),
    "looping-cursor": Kind("a page's cursor leads to the same page again", "GET"),
    "lost-answer": Kind("the venue accepts, and the connection is reset without an answer", "POST"),
    "stream-drop": Kind("the connection is reset instead of a message", path="*", of_streams=True),
    "stream-mute": Kind("the connection stays open and says nothing any more", path="*", of_streams=True),
    "stream-gap": Kind("a delta is left out", path="*", of_streams=True),
    "stream-duplicate": Kind("a message comes twice", path="*", of_streams=True),
    "delta-first": Kind("a delta comes before the snapshot it belongs to", path="*", of_streams=True),
}
"""Every fault by its name."""

STORM = (
    *("latency", "timeout", "reset", "server-error", "rate-limit"),
    *("truncated-json", "html", "lost-answer", "stream-drop"),
)
"""What the name ``storm`` stands for: the default rate shared among these."""

_RESETS = ("soon", "missing", "past", "absurd")


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry of a plan.

    Parameters
    ----------
    name : str
        One of ``KINDS``.
    rate : float
        Share of the requests it applies to, 0 to 1; not used where ``nth`` is given.
    nth : tuple of int
        Which of them it hits, counted from 1.
    path, method : str
        What it applies to, with ``*`` as a wildcard; a stream fault's path is a topic such as ``orderbook.*``.
    settings : mapping
        As in the kind's own, filled up with its defaults.
    after_s, for_s : float
        From when on, and how long, seconds of the sandbox's clock since it came up.
    """

    name: str
    rate: float = DEFAULT_RATE
    nth: tuple[int, ...] = ()
    path: str = ""
    method: str = ""
    settings: Mapping[str, int | str | bool] = field(default_factory=dict)
    after_s: float = 0.0
    for_s: float = float("inf")

    def __post_init__(self) -> None:
        """Refuse an unknown name or setting, and fill in the kind's defaults."""
        kind = KINDS.get(self.name)
        if kind is None:
            raise InvalidInput(f"no fault is called {self.name!r}: choose among {', '.join(KINDS)}, or storm")
        if not (_is_number(self.rate) and 0 <= self.rate <= 1):
            raise InvalidInput(f"the rate of {self.name} is {self.rate!r}: give a share between 0 and 1")
        if not all(type(place) is int and place >= 1 for place in self.nth):
            raise InvalidInput(f"nth of {self.name} is {list(self.nth)!r}: requests are counted from 1")
        if not all(_is_number(bound) and bound >= 0 for bound in (self.after_s, self.for_s)):
            raise InvalidInput(f"after_s and for_s of {self.name} are {self.after_s!r} and {self.for_s!r}: 0 or more")
        unknown = sorted(set(self.settings) - set(kind.settings))
        if unknown:
            known = ", ".join(kind.settings) or "none"
            raise InvalidInput(f"{self.name} has no setting {', '.join(unknown)}: it has {known}")
        for key, value in self.settings.items():
            if type(value) is not type(kind.settings[key]) or (key != "offset_ms" and type(value) is int and value < 0):
                raise InvalidInput(f"{key} of {self.name} is {value!r}: expected one such as {kind.settings[key]!r}")
        if self.settings.get("reset", "soon") not in _RESETS:
            raise InvalidInput(f"reset of {self.name} is {self.settings['reset']!r}: choose among {', '.join(_RESETS)}")
        if not 500 <= int(self.settings.get("status", 500)) <= 599:
            raise InvalidInput(f"status of {self.name} is {self.settings['status']}: expected 500 to 599")
        object.__setattr__(self, "path", self.path or kind.path)
        object.__setattr__(self, "method", self.method or kind.method)
        object.__setattr__(self, "settings", {**kind.settings, **self.settings})

    def as_dict(self) -> dict[str, Any]:
        """Return the entry as a schedule file has it."""
        entry: dict[str, Any] = {"fault": self.name, "path": self.path, "method": self.method, **self.settings}
        entry |= {"nth": list(self.nth)} if self.nth else {"rate": self.rate}
        if self.after_s:
            entry["after_s"] = self.after_s
        if self.for_s != float("inf"):
            entry["for_s"] = self.for_s
        return entry


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


@dataclass(frozen=True, slots=True)
class Injected:
    """A fault that happened: its number in the run, when (ms of the sandbox's clock), and to what."""

    number: int
    time_ms: int
    fault: str
    method: str
    path: str


class FaultPlan:
    """Decides for every request and every stream message. Thread-safe.

    Parameters
    ----------
    faults : sequence of Fault
        In order of precedence: the first that hits a request is the one that happens.
    seed : int
        Of every draw.
    """

    def __init__(self, faults: Sequence[Fault] = (), seed: int = 7) -> None:
        self.faults, self.seed = tuple(faults), seed
        self._counts = [0] * len(self.faults)
        self._lock = threading.Lock()
        self._injected: list[Injected] = []
        self._n_injected = 0
        self._began_ms: int | None = None

    def __bool__(self) -> bool:
        return bool(self.faults)

    def of_request(self, method: str, path: str, now_ms: int) -> Fault | None:
        """Return the fault that hits this request, and count the request."""
        return self._hit(method, path, now_ms, KINDS.keys() - _STREAM_KINDS)

    def of_message(self, topic: str, now_ms: int) -> Fault | None:
        """Return the fault that hits this message of a stream, and count the message."""
        return self._hit("*", topic, now_ms, _STREAM_KINDS - {"delta-first"})

    def of_snapshot(self, topic: str, now_ms: int) -> Fault | None:
        """Return the fault that hits the first snapshot of a subscription, and count it."""
        return self._hit("*", topic, now_ms, {"delta-first"})

    def _hit(self, method: str, path: str, now_ms: int, names: "set[str]") -> Fault | None:
        hit = None
        with self._lock:
            if self._began_ms is None:
                self._began_ms = now_ms
            at_s = (now_ms - self._began_ms) / 1000
            for place, fault in enumerate(self.faults):
                if fault.name not in names or not fault.after_s <= at_s < fault.after_s + fault.for_s:
                    continue
                if not fnmatchcase(path, fault.path) or (method != "*" and not fnmatchcase(method, fault.method)):
                    continue
                self._counts[place] += 1
                count = self._counts[place]
                falls = count in fault.nth if fault.nth else self.draw(place, count) < fault.rate
                if falls and hit is None:
                    hit = fault
        return hit

    def draw(self, *parts: int) -> float:
        """Return a number in [0, 1) that depends on the seed and ``parts`` alone."""
        text = ":".join(str(part) for part in (self.seed, *parts))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64

    def note(self, fault: Fault, method: str, path: str, now_ms: int) -> None:
        """Record that ``fault`` happened; the oldest records make room after some ten thousand."""
        with self._lock:
            self._n_injected += 1
            self._injected.append(Injected(self._n_injected, now_ms, fault.name, method, path))
            del self._injected[:-_MAX_LOG]

    @property
    def injected(self) -> tuple[Injected, ...]:
        """What happened so far, oldest first."""
        with self._lock:
            return tuple(self._injected)

    @property
    def n_injected(self) -> int:
        """How many faults happened so far."""
        return self._n_injected


_STREAM_KINDS = {name for name, kind in KINDS.items() if kind.of_streams}


def load_plan(wanted: Sequence[str | Path], seed: int = 7) -> FaultPlan:
    """Return the plan that names and schedule files stand for, in the order given.

    Parameters
    ----------
    wanted : sequence of str or Path
        A fault's name, a name with its rate (``reset=0.2``), ``storm``, or a JSON file: ``{"seed": 7, "faults":
        [{"fault": "reset", "rate": 0.1, "path": "/v5/market/*"}, {"fault": "ban", "nth": 20}]}``. An entry may
        hold ``rate`` or ``nth`` (a number or a list), ``path``, ``method``, ``after_s``, ``for_s`` and the
        settings of its kind.
    seed : int
        Unless a file has its own.

    Raises
    ------
    InvalidInput
        For an unknown name or setting, with the list of those there are, and for a file that is no schedule.
    """
    faults: list[Fault] = []
    for item in wanted:
        text = str(item)
        named = _NAMED.fullmatch(text)
        if isinstance(item, str) and named and (named[1] in KINDS or named[1] == "storm"):
            faults += _of_name(named[1], named[2])
        elif Path(item).suffix == ".json" or isinstance(item, Path):
            seed, entries = _read(Path(item), seed)
            faults += entries
        else:
            raise InvalidInput(
                f"no fault is called {text!r}: choose among {', '.join(KINDS)}, storm, or name a .json schedule"
            )
    return FaultPlan(faults, seed)


def _of_name(name: str, rate_text: str | None) -> list[Fault]:
    try:
        rate = DEFAULT_RATE if rate_text is None else float(rate_text)
    except ValueError:
        raise InvalidInput(f"{rate_text!r} is no rate: give a share between 0 and 1, such as {name}=0.2") from None
    if name != "storm":
        return [Fault(name, rate)]
    if not 0 <= rate <= 1:
        raise InvalidInput(f"the rate of storm is {rate}: give a share between 0 and 1")
    return [Fault(part, rate / len(STORM)) for part in STORM]


def _read(path: Path, seed: int) -> tuple[int, list[Fault]]:
    try:
        if path.stat().st_size > _SCHEDULE_CAP:
            raise InvalidInput(f"{path} holds more than {_SCHEDULE_CAP} bytes, which no schedule of faults does")
        plan = orjson.loads(path.read_bytes())
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read ({error.strerror}): name a schedule of faults") from error
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"{path} is not JSON ({error.msg}): a schedule is an object with seed and faults") from error
    if not isinstance(plan, dict) or not isinstance(plan.get("faults"), list) or set(plan) - _PLAN_KEYS:
        raise InvalidInput(f"{path} is no schedule of faults: expected an object with `faults`, a list, and `seed`")
    chosen = plan.get("seed", seed)
    if type(chosen) is not int or chosen < 0:
        raise InvalidInput(f"the seed of {path} is {chosen!r}: give a whole number of 0 or more")
    return chosen, [_entry(entry, f"entry {place} of {path}") for place, entry in enumerate(plan["faults"], 1)]


def _entry(entry: object, where: str) -> Fault:
    if not isinstance(entry, dict) or not isinstance(entry.get("fault"), str):
        raise InvalidInput(f"{where} is {entry!r}: expected an object with `fault`, a name")
    if "rate" in entry and "nth" in entry:
        raise InvalidInput(f"{where} has both rate and nth: a fault hits a share of the requests or the n-th")
    if not all(isinstance(entry.get(key, ""), str) for key in ("path", "method")):
        raise InvalidInput(f"{where}: path and method are texts such as '/v5/market/*' and 'GET'")
    nth = entry.get("nth", [])
    settings = {key: value for key, value in entry.items() if key not in _ENTRY_KEYS}
    try:
        return Fault(
            entry["fault"],
            entry.get("rate", DEFAULT_RATE),
            tuple(nth) if isinstance(nth, list) else (nth,),
            entry.get("path", ""),
            entry.get("method", ""),
            settings,
            entry.get("after_s", 0.0),
            entry.get("for_s", float("inf")),
        )
    except InvalidInput as error:
        raise InvalidInput(f"{where}: {error}") from None
