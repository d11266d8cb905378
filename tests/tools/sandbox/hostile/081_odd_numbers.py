"""Answers with numbers that JSON has no word for.

Class: results
Must: plain
Status: ok, error
Value: anything
"""

import decimal
import fractions


def solution():
    exact = [decimal.Decimal("NaN"), decimal.Decimal(10) ** 5000, fractions.Fraction(1, 3), 1j, True]
    return [float("nan"), float("inf"), -float("inf"), -0.0, 5e-324, *exact]
