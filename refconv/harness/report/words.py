"""Numbers and names as a page says them."""

from __future__ import annotations

from typing import Any


def duration(ns: float | None) -> str:
    """``1.23 ms``: three digits and a unit; a dash where there is no time.

    Example:
        >>> duration(1234567.0), duration(None)
        ('1.23 ms', '–')
    """
    if ns is None:
        return "–"
    for unit, size in (("ns", 1.0), ("µs", 1e3), ("ms", 1e6)):
        if ns < size * 999.5:
            return f"{digits(ns / size)} {unit}"
    return f"{digits(ns / 1e9)} s"


def digits(x: float | None) -> str:
    """Three significant digits, a dash where there is no number.

    Example:
        >>> digits(0.0123), digits(1.234), digits(123456.0), digits(1e-9), digits(None)
        ('0.0123', '1.23', '123,456', '1e-09', '–')
    """
    if x is None:
        return "–"
    return f"{x:.3g}" if abs(x) < 1 or abs(x) >= 1e7 else three(x)


def three(x: float) -> str:
    """Three significant digits of a number from 1 on, two places of one below; no exponent.

    Example:
        >>> three(0.0123), three(1.234), three(123456.0)
        ('0.01', '1.23', '123,456')
    """
    return f"{x:.2f}" if abs(x) < 9.995 else f"{x:.1f}" if abs(x) < 99.95 else f"{x:,.0f}"


def against(row: Any) -> str:
    """``1.85× torch's time (1.80–1.90)``."""
    text = f"{digits(row.ratio)}× torch's time"
    return f"{text} ({digits(row.low)}–{digits(row.high)})" if row.low and row.high else text
