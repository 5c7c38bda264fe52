"""Small markdown pieces: tables, money, differences."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Return a markdown table; the columns in ``numbers`` stand to the right."""
    rule = ["---:" if place in numbers else "---" for place in range(len(head))]
    # A bar inside a cell would end it.
    lines = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in [list(head), rule, *lines])


def money(value: float) -> str:
    """Return settle coin to the cent with a sign; a thousandth less than a cent is none."""
    text = f"{value:+,.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text


def amount(value: float) -> str:
    """Return settle coin to the cent without a plus."""
    return money(value).removeprefix("+")


def small(value: float) -> str:
    """Return a relative difference as a bound, so that the page does not change with the last bit."""
    if value == 0.0:
        return "0"
    bounds = (1e-15, 1e-14, 1e-13, 1e-12, 1e-11, 1e-10, 1e-9)
    return next((f"< {bound:.0e}".replace("e-0", "e-") for bound in bounds if value < bound), f"{value:.1e}")


def plural(number: int, noun: str) -> str:
    """Return a count with its noun."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
