# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Exact decimal numbers and their one text form."""

from decimal import Decimal

PLACES = 8
# What another process or the exchange may write: no sign, no exponent, no NaN, bounded.
PLAIN_NUMBER = r"[0-9]{1,40}(\.[0-9]{1,40})?"


def plain(value: Decimal, places: int = PLACES) -> str:
    """Return ``value`` without an exponent and with at least ``places`` decimals.

    Digits beyond ``places`` are kept unless they are trailing zeros, so that the text is always
    exactly the number: ``Decimal("5E-8")`` gives ``"0.00000005"``.

    Raises:
        ValueError: If ``value`` is not finite.
    """
    if not value.is_finite():
        raise ValueError(f"not a finite number: {value}")
    text = format(value, "f")
    whole, _, fraction = text.partition(".")
    if len(fraction) > places:
        fraction = fraction[:places] + fraction[places:].rstrip("0")
    return f"{whole}.{fraction.ljust(places, '0')}" if places or fraction else whole


def trimmed(value: Decimal) -> str:
    """Return ``value`` without an exponent and without trailing zeros: ``"1.5"``, ``"0"``."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text if text not in {"-0", ""} else "0"


def scaled(integer: int, decimals: int) -> str:
    """Return ``integer / 10**decimals`` as an exact plain string without trailing zeros.

    Works on the digits, so that no context precision can round a 78-digit token amount.

    Raises:
        ValueError: If ``decimals`` is negative.
    """
    if decimals < 0:
        raise ValueError(f"decimals must not be negative: {decimals}")
    sign = "-" if integer < 0 else ""
    digits = str(abs(integer)).rjust(decimals + 1, "0")
    whole = digits[: len(digits) - decimals]
    fraction = digits[len(digits) - decimals :].rstrip("0")
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"
