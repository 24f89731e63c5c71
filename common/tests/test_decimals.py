# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkora.decimals import plain, scaled, trimmed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("5E-8", "0.00000005"),
        ("0", "0.00000000"),
        ("1E+3", "1000.00000000"),
        ("1.5", "1.50000000"),
        ("1234567890123.5", "1234567890123.50000000"),
        ("0.0000000012", "0.0000000012"),
        ("0.1234567890", "0.123456789"),
    ],
)
def test_plain_text_has_no_exponent_and_at_least_eight_decimals(value, text):
    assert plain(Decimal(value)) == text


def test_plain_text_refuses_what_is_not_a_number():
    with pytest.raises(ValueError, match="finite"):
        plain(Decimal("NaN"))


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=0, max_value=10**30))
def test_plain_text_is_exactly_the_number(value):
    assert Decimal(plain(value)) == value
    assert Decimal(trimmed(value)) == value


@pytest.mark.parametrize(
    ("integer", "decimals", "text"),
    [
        (0, 18, "0"),
        (1, 18, "0.000000000000000001"),
        (1_500_000, 6, "1.5"),
        (-25, 1, "-2.5"),
        (7, 0, "7"),
        (2**256 - 1, 77, f"1.{str(2**256 - 1)[1:]}"),
    ],
)  # fmt: skip
def test_token_amounts_are_scaled_on_their_digits(integer, decimals, text):
    assert scaled(integer, decimals) == text
