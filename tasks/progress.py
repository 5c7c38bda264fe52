"""What a run is doing right now, for whoever listens: the terminal sets the listener, the steps speak."""

from collections.abc import Callable

_listeners: list[Callable[[str], None]] = []


def listen(listener: Callable[[str], None]) -> None:
    """Let ``listener`` hear every step of this process from now on; it replaces the one before."""
    _listeners[:] = [listener]


def announce(step: str) -> None:
    """Tell the listener, if there is one, that ``step`` has begun."""
    for listener in _listeners:
        listener(step)
