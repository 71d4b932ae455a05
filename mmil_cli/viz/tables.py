"""Numbers as people read them in a table."""

import math

UNDEFINED = "–"


def number(value: float, *, digits: int = 2) -> str:
    """`0.83`, or a dash for NaN."""
    return UNDEFINED if math.isnan(value) else f"{_unsigned_zero(value, digits):.{digits}f}"


def with_interval(value: float, low: float, high: float, *, digits: int = 2) -> str:
    """`0.83 [0.79, 0.87]`; without its interval where that is undefined, a dash where the value is."""
    if math.isnan(value) or math.isnan(low) or math.isnan(high):
        return number(value, digits=digits)
    ends = f"{number(low, digits=digits)}, {number(high, digits=digits)}"
    return f"{number(value, digits=digits)} [{ends}]"


def percent(value: float, *, digits: int = 0) -> str:
    """`83 %` of a share of 1, or a dash for NaN."""
    return UNDEFINED if math.isnan(value) else f"{number(100 * value, digits=digits)} %"


def _unsigned_zero(value: float, digits: int) -> float:
    """Rounded, and never `-0.00`."""
    return round(value, digits) + 0.0
