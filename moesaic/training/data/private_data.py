"""Private data in a text, replaced by typed placeholders: `<EMAIL>`, `<PHONE>`, `<ID>`, `<IP>`, `<CARD>`.

What can be checked is: a Chinese identity number by its date and check character (GB 11643-1999, ISO 7064 MOD 11-2), a
card number by its issuer's digits and Luhn's check digit (ISO/IEC 7812-1), an address by the ranges of its numbers. A
number that fails its check stays: an order number is no card. Patterns without a check want their separators, or the
form of a Chinese mobile number.

Numbers that are nobody's stay as they are: addresses of loopback, of the unspecified host, of the local network and
those set aside for documentation (RFC 1918, RFC 5737, RFC 3849), and mail addresses at example.com and its like (RFC
2606), which manuals are full of.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Callable
from datetime import date
from typing import NamedTuple

__all__ = ["KINDS", "Masked", "mask_private_data"]

_NO_DIGIT_BEFORE, _NO_DIGIT_AFTER = r"(?<![\dA-Za-z])", r"(?![\dA-Za-z])"
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}(?![A-Za-z0-9])"
)
_EXAMPLE_DOMAIN = re.compile(
    r"@(?:.*\.)?(?:example(?:\.(?:com|org|net))?|test|invalid|localhost|localdomain)$", re.IGNORECASE
)
_IDENTITY = re.compile(rf"{_NO_DIGIT_BEFORE}[1-9]\d{{5}}(?:18|19|20)\d{{2}}[01]\d[0-3]\d\d{{3}}[\dXx]{_NO_DIGIT_AFTER}")
_IDENTITY_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_IDENTITY_CHECKS = "10X98765432"
# In groups of four with three at the end, in groups of four, as American Express writes it, and without groups.
_CARDS = tuple(
    re.compile(rf"{_NO_DIGIT_BEFORE}(?<![\d.][-.]){form}{_NO_DIGIT_AFTER}(?![.-]\d)")
    for form in (
        r"[2-6]\d{3}(?:[ -]\d{4}){3}[ -]\d{3}",
        r"[2-6]\d{3}(?:[ -]\d{4}){3}",
        r"3[47]\d{2}[ -]\d{6}[ -]\d{5}",
        r"[2-6]\d{12,18}",
    )
)
_PHONE = re.compile(
    # Chinese mobile, with or without country code and groups; then fixed lines; then any number in international form;
    # then North American.
    rf"{_NO_DIGIT_BEFORE}(?<![\d.+-])(?:(?:\+|00)86[ -]?)?1[3-9]\d(?:[ -]?\d{{4}}){{2}}{_NO_DIGIT_AFTER}(?!-?\d)"
    rf"|{_NO_DIGIT_BEFORE}(?<![\d.-])(?:\(0\d{{2,3}}\)[ -]?|0\d{{2,3}}-)[2-9]\d{{6,7}}(?:-\d{{1,5}})?{_NO_DIGIT_AFTER}"
    rf"|(?<![\w+.])\+[1-9]\d{{0,2}}(?:[ .-]?\(?\d{{1,4}}\)?){{2,5}}{_NO_DIGIT_AFTER}"
    rf"|{_NO_DIGIT_BEFORE}(?<![\d.-])(?:\([2-9]\d{{2}}\) ?|[2-9]\d{{2}}[-.])[2-9]\d{{2}}[-.]\d{{4}}"
    rf"{_NO_DIGIT_AFTER}(?!-?\d)"
)
_PHONE_DIGITS = (8, 15)
_IPV4 = re.compile(rf"{_NO_DIGIT_BEFORE}(?<!\d\.)(?:\d{{1,3}}\.){{3}}\d{{1,3}}{_NO_DIGIT_AFTER}(?!\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
_GIVEN_OUT_V6 = ipaddress.ip_network("2000::/3")
"""The one block of IPv6 that hosts have addresses from (RFC 4291)."""
_VERSION_WORD = re.compile(r"(?:version|release|ver|v|版本|kernel|build)[ :：.]{0,2}$", re.IGNORECASE)
_LOOKED_BACK = 12


class Masked(NamedTuple):
    """A text with placeholders, and how many of each kind there are."""

    text: str
    counts: Counter[str]


def mask_private_data(text: str, kinds: tuple[str, ...] | None = None) -> Masked:
    """Replace private data of these kinds (all of `KINDS` if not given)."""
    counts: Counter[str] = Counter()
    for kind, (patterns, is_private) in _DETECTORS.items():
        if kinds is not None and kind not in kinds:
            continue

        def replaced(
            found: re.Match[str], kind: str = kind, check: Callable[[re.Match[str]], bool] = is_private
        ) -> str:
            if not check(found):
                return found[0]

            counts[kind] += 1
            return f"<{kind.upper()}>"

        for pattern in patterns:
            text = pattern.sub(replaced, text)
    return Masked(text, counts)


def _is_private_email(found: re.Match[str]) -> bool:
    return not _EXAMPLE_DOMAIN.search(found[0])


def _is_identity(found: re.Match[str]) -> bool:
    number = found[0].upper()
    try:
        date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return False

    total = sum(weight * int(digit) for weight, digit in zip(_IDENTITY_WEIGHTS, number, strict=False))
    return _IDENTITY_CHECKS[total % 11] == number[17]


def _is_card(found: re.Match[str]) -> bool:
    digits = [int(digit) for digit in found[0] if digit.isdigit()]
    doubled = sum(sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return len(set(digits)) > 1 and (doubled + sum(digits[-1::-2])) % 10 == 0


def _is_phone(found: re.Match[str]) -> bool:
    digits = sum(character.isdigit() for character in found[0])
    return _PHONE_DIGITS[0] <= digits <= _PHONE_DIGITS[1]


def _is_private_address(found: re.Match[str]) -> bool:
    before = found.string[max(0, found.start() - _LOOKED_BACK) : found.start()]
    try:
        address = ipaddress.ip_address(found[0])
    except ValueError:
        return False

    given_out = address.version == 4 or address in _GIVEN_OUT_V6
    return given_out and address.is_global and not address.is_multicast and not _VERSION_WORD.search(before)


_DETECTORS: dict[str, tuple[tuple[re.Pattern[str], ...], Callable[[re.Match[str]], bool]]] = {
    "email": ((_EMAIL,), _is_private_email),
    "id": ((_IDENTITY,), _is_identity),
    "card": (_CARDS, _is_card),
    "ip": ((_IPV4, _IPV6), _is_private_address),
    "phone": ((_PHONE,), _is_phone),
}

KINDS: tuple[str, ...] = tuple(_DETECTORS)
"""Kinds of private data, those with a check before those that would match a part of them."""
