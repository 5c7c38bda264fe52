"""Candles on disk as Arrow files that are mapped into memory: read once out of SQL, shared by every thread and process.

A file holds one series whole, at one moment, and is named after it: ``linear-BTCUSDT-last-1m-bybit.<stamp>.arrow``.
The store gives a new stamp with every change of rows, coverage or holes, in the same transaction, so a file is never
stale: it is either asked for by name or not at all. Files are written beside their place and renamed, checked when
they are opened, and read through a private mapping: every process sees the same pages, and whoever writes into a frame
writes into a copy of its own.
"""

import itertools
import logging
import mmap
import os
import threading
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from bybit.rules.candles import SeriesKey
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import Period, Span
from bybit.store.bulk import ROW
from bybit.store.candles import Snapshot, candle_frame

FORMAT = 1
"""Goes up when files of before can no longer be read as they are."""

DEFAULT_MAX_BYTES = 8 * 2**30
"""Room for about 150 symbols with two years of minutes each."""

# Mappings cost addresses, not memory; this only keeps the number of open ones in bounds.
_MAX_OPEN = 256
# A copy holds the series whole. It is made once reads have taken this share of it past the cache: whoever wants a
# single day of a long series does not wait for the years around it, and whoever goes on wanting days soon has all.
_SHARE = 4
# A file still unfinished after this was left by a process that is gone.
_UNFINISHED_S = 3_600
_TOLD = b"perpflow"
_TOLD_CHECK = b"perpflow_crc32"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Copy:
    """A series whole, as it was at the moment ``stamp``.

    Parameters
    ----------
    stamp : str
        The moment's name.
    known : list of Span
        The spans (ms UTC) known in full.
    open_time_ms : ndarray of int64, shape (n_candles,)
        Open times, increasing.
    candles : DataFrame of shape (n_candles, 6)
        As ``CandleTable.read``; its memory is shared, so it is handed out in slices only.
    file : tuple or None
        What tells the file from another at its place; None while it is in memory alone.
    """

    stamp: str
    known: list[Span]
    open_time_ms: NDArray[np.int64]
    candles: pd.DataFrame
    file: tuple[int, int, int] | None

    def read(self, period: Period) -> pd.DataFrame:
        """Return the candles that open in ``period``, without copying; pandas copies before it changes them."""
        start, end = np.searchsorted(self.open_time_ms, period.span_ms)
        return self.candles.iloc[start:end]


class CandleCache:
    """Copies of series in one folder; safe to share between threads, and the folder between processes.

    What cannot be written (a full disk, a folder without rights) is told in the log and used from memory.

    Parameters
    ----------
    folder : Path
        Where the files are; made when it is needed. Anything else in it is left alone.
    max_bytes : int
        Above this the files that were not used for longest are removed; the last one written always stays.

    Raises
    ------
    InvalidInput
        For a bound that leaves no room.
    """

    def __init__(self, folder: Path, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        if max_bytes < 1:
            raise InvalidInput(f"the cache may hold {max_bytes} bytes: 1 or more are needed, or no cache at all")
        self._folder = Path(folder)
        self._max_bytes = max_bytes
        self._open: dict[SeriesKey, Copy] = {}
        self._passed: dict[SeriesKey, int] = {}
        self._lock = threading.Lock()

    def pays(self, key: SeriesKey, known: list[Span], period: Period) -> bool:
        """Return whether a copy of ``key`` should be made for a read of ``period``, and count that read.

        ``known`` are the spans (ms UTC) known in full.
        """
        start, end = period.span_ms
        asked = sum(min(b, end) - max(a, start) for a, b in known if a < end and start < b)
        with self._lock:
            passed = self._passed.get(key, 0) + asked
            pays = passed * _SHARE >= sum(b - a for a, b in known)
            self._passed[key] = 0 if pays else passed
        return pays

    def find(self, key: SeriesKey, stamp: str) -> Copy | None:
        """Return the copy of ``key`` as of ``stamp``; None when there is none or it is damaged."""
        copy = self._still_open(key)
        if copy is not None and copy.stamp == stamp:
            return copy
        path = self._path(key, stamp)
        copy = _opened(path, key, stamp)
        if copy is not None:
            _touch(path)
            self._remember(key, copy)
        return copy

    def latest(self, key: SeriesKey) -> Copy | None:
        """Return a copy of ``key`` as of any moment, the newest first; None when there is none that can be used."""
        copy = self._still_open(key)
        if copy is not None:
            return copy
        for path in sorted(self._files(key), key=_used_ns, reverse=True):
            copy = _opened(path, key, _stamp(path))
            if copy is not None:
                return copy
        return None

    def put(self, key: SeriesKey, snapshot: Snapshot, earlier: Copy | None) -> Copy:
        """Keep what ``snapshot`` makes of ``earlier``, and return it; older moments of the series are removed."""
        columns = _merged(snapshot, earlier)
        path = self._path(key, snapshot.stamp)
        copy = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            _write(path, key, snapshot, columns)
            copy = _opened(path, key, snapshot.stamp)
        except OSError as error:
            _log.warning("%s: %s: candles are read without being kept", path, error.strerror or error)
        if copy is None:
            times = columns["open_time_ms"]
            copy = Copy(snapshot.stamp, snapshot.known, times, candle_frame(times, columns), None)
        self._remember(key, copy)
        self._tidy(key, path, snapshot.passed)
        return copy

    @contextmanager
    def building(self, key: SeriesKey) -> Iterator[None]:
        """Be the only one who builds a copy of ``key``, among threads and, where the system can, processes.

        Nothing depends on it but work: two who build at once write the same.
        """
        try:
            import fcntl

            self._folder.mkdir(parents=True, exist_ok=True)
            # A lock of the system dies with its holder; the file stays, so that all mean the same one.
            descriptor = os.open(self._folder / f"{_prefix(key)}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        except (ImportError, OSError):
            yield
            return
        try:
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _still_open(self, key: SeriesKey) -> Copy | None:
        with self._lock:
            copy = self._open.get(key)
        # What somebody did to the file since it was checked shows in the mapping.
        if copy is None or copy.file is None or copy.file == _identity(self._path(key, copy.stamp)):
            return copy
        return None

    def _path(self, key: SeriesKey, stamp: str) -> Path:
        return self._folder / f"{_prefix(key)}.{stamp}.arrow"

    def _files(self, key: SeriesKey | None) -> list[Path]:
        return list(self._folder.glob("*.*.arrow" if key is None else f"{_prefix(key)}.*.arrow"))

    def _remember(self, key: SeriesKey, copy: Copy) -> None:
        with self._lock:
            self._open.pop(key, None)
            self._open[key] = copy
            for oldest in list(itertools.islice(self._open, max(0, len(self._open) - _MAX_OPEN))):
                del self._open[oldest]

    def _tidy(self, key: SeriesKey, newest: Path, passed: frozenset[str]) -> None:
        """Remove the moments that ``newest`` follows, then what is too much; who has mapped a file keeps it."""
        for path in self._files(key):
            if _stamp(path) in passed:
                _remove(path)
        for path in self._folder.glob("*.arrow.*.part"):
            if _used_ns(path) < time.time_ns() - _UNFINISHED_S * 10**9:
                _remove(path)
        sizes = {path: _size(path) for path in sorted(self._files(None), key=_used_ns)}
        total = sum(sizes.values())
        for path, size in sizes.items():
            if total <= self._max_bytes:
                return
            if path != newest:
                _remove(path)
                total -= size


def _prefix(key: SeriesKey) -> str:
    # A symbol has no lower case, dot or hyphen of its own that could be mistaken: two series never share a name.
    return f"{key.category.value}-{key.symbol}-{key.price.value}-{key.interval.value}-{key.exchange}"


def _stamp(path: Path) -> str:
    return path.stem.rpartition(".")[2]


def _merged(snapshot: Snapshot, earlier: Copy | None) -> dict[str, NDArray[Any]]:
    """Return the columns of the series: what has changed out of ``snapshot``, the rest out of ``earlier``."""
    times = np.empty(0, dtype=np.int64) if earlier is None else earlier.open_time_ms
    cuts = [
        (*np.searchsorted(times, span).tolist(), rows)
        for span, rows in zip(snapshot.changed, snapshot.rows, strict=True)
    ]
    merged: dict[str, NDArray[Any]] = {}
    for name in ROW.names or ():
        if earlier is None:
            old: NDArray[Any] = np.empty(0, dtype=ROW[name])
        else:
            old = times if name == "open_time_ms" else earlier.candles[name].to_numpy()
        pieces, at = [], 0
        for start, end, rows in cuts:
            pieces += [old[at:start], rows[name]]
            at = end
        merged[name] = np.concatenate([*pieces, old[at:]])
    return merged


def _write(path: Path, key: SeriesKey, snapshot: Snapshot, columns: dict[str, NDArray[Any]]) -> None:
    told = orjson.dumps(
        {
            "format": FORMAT,
            "series": [key.exchange, str(key)],
            "stamp": snapshot.stamp,
            "known": snapshot.known,
            "n_candles": len(columns["open_time_ms"]),
            "sums": [_sum(column) for column in columns.values()],
        }
    )
    metadata = {_TOLD: told, _TOLD_CHECK: str(zlib.crc32(told)).encode()}
    arrays = [pa.array(column) for column in columns.values()]
    batch = pa.RecordBatch.from_arrays(arrays, names=list(columns)).replace_schema_metadata(metadata)
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        with pa.OSFile(str(unfinished), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)
        # No fsync: what a power cut tears does not add up, and is built again.
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _opened(path: Path, key: SeriesKey, stamp: str) -> Copy | None:
    """Return what the file at ``path`` holds; None when it is not there or not what it should be."""
    try:
        return _mapped(path, key, stamp)
    except FileNotFoundError:
        return None
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError, AttributeError) as error:
        _log.warning("%s: %s: it is not used, and built again", path, error)
        return None


def _mapped(path: Path, key: SeriesKey, stamp: str) -> Copy:
    """Map the file at ``path`` and check every byte that is used of it."""
    with path.open("rb") as file:
        found = _file_identity(os.fstat(file.fileno()))
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    whole = pa.py_buffer(mapped)
    reader = pa.ipc.open_file(whole)
    metadata = reader.schema.metadata or {}
    if metadata.get(_TOLD_CHECK) != b"%d" % zlib.crc32(metadata.get(_TOLD, b"")):
        raise ValueError("its description is damaged")
    told = orjson.loads(metadata[_TOLD])
    if told["format"] != FORMAT or told["series"] != [key.exchange, str(key)] or told["stamp"] != stamp:
        raise ValueError("it holds something else, or in another format")
    batch, columns = reader.get_batch(0), {}
    for name in ROW.names or ():
        # An empty series has no bytes that could be mapped.
        place = batch.column(name).buffers()[1].address - whole.address if told["n_candles"] else 0
        columns[name] = np.frombuffer(mapped, dtype=ROW[name], count=told["n_candles"], offset=place)
    if [_sum(column) for column in columns.values()] != told["sums"]:
        raise ValueError("its content is damaged")
    known = [(start, end) for start, end in told["known"]]
    times = columns.pop("open_time_ms")
    return Copy(stamp, known, times, candle_frame(times, columns), found)


def _sum(column: NDArray[Any]) -> int:
    # As fast as memory is read; a flipped bit or a lost page changes it. JSON's numbers end at 64 bits, as this does.
    return int(column.view(np.uint64).sum(dtype=np.uint64))


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        return _file_identity(path.stat())
    except OSError:
        return None


def _file_identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns


def _touch(path: Path) -> None:
    # Files are removed by their time of use; the time of writing stays, by which a changed file is told.
    with suppress(OSError):
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def _used_ns(path: Path) -> int:
    try:
        status = path.stat()
    except OSError:
        return 0
    return max(status.st_atime_ns, status.st_mtime_ns)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _remove(path: Path) -> None:
    # Where a mapped file cannot be removed it stays, and is asked again the next time.
    with suppress(OSError):
        path.unlink(missing_ok=True)
