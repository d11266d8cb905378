"""Private data is masked with its kind, and numbers that only look like it stay."""

import random

import pytest

from moesaic.training.data.private_data import KINDS, mask_private_data


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to jo.doe+x@mail.foo.cn.", "Write to <EMAIL>."),
        ("邮箱：zhang_san@163.com，谢谢", "邮箱：<EMAIL>，谢谢"),
        ("请拨打13812345678咨询", "请拨打<PHONE>咨询"),
        ("电话 138-1234-5678 或 +86 138 1234 5678 或 008613812345678", "电话 <PHONE> 或 <PHONE> 或 <PHONE>"),
        ("座机010-62345678，(021) 6234567，0755-26543210-801", "座机<PHONE>，<PHONE>，<PHONE>"),
        ("call (415) 555-2671, 415-555-2671 or +44 20 7946 0958", "call <PHONE>, <PHONE> or <PHONE>"),
        ("身份证号11010519491231002X。", "身份证号<ID>。"),
        ("id 11010519491231002x", "id <ID>"),
        ("card 4111 1111 1111 1111, 5500-0000-0000-0004; 378282246310005", "card <CARD>, <CARD>; <CARD>"),
        ("3782 822463 10005 and 4111 1111 1111 1111 123", "<CARD> and <CARD> 123"),
        ("银联卡6212345678901232345", "银联卡6212345678901232345"),
        ("from 8.8.8.8 to 2001:4860:4860::8888", "from <IP> to <IP>"),
    ],
)
def test_private_data_is_masked(text: str, expected: str) -> None:
    masked = mask_private_data(text)
    assert masked.text == expected
    assert sum(masked.counts.values()) == expected.count("<")


@pytest.mark.parametrize(
    "text",
    [
        "user@example.com, a@b.example.org, root@localhost, x@host.test",
        "not@mail, @decorator, git@, a@b",
        "order 13812345678901, part 213812345678, 1381234567",
        "12812345678 is no mobile number",
        "110105194912310021 has a wrong check character",
        "110105194913310021 has no such month, 123456789012345678 neither",
        "4111111111111112 fails Luhn, 0000000000000000 and 1111111111111111 have no issuer",
        "2024-01-15, 12:30:45, 3.14159265358979, 1,234,567",
        "ISBN 978-3-16-148410-0",
        "127.0.0.1, 192.168.1.1, 10.0.0.1, 172.16.0.1, 0.0.0.0, 255.255.255.255, 224.0.0.1, 192.0.2.7",
        "999.8.8.8, 1.2.3.4.5, version 8.8.8.8, kernel: 5.15.1.1",
        "::1, fe80::1, 2001:db8::1, std::vector, a::b, 12:34:56:78",
        "x = a[1:2:3]; d = 1.2e-10; 0x7fffffffffff",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert mask_private_data(text).text == text


def test_any_valid_identity_number_is_masked_and_any_changed_digit_saves_it() -> None:
    generator = random.Random(0)
    weights, checks = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2), "10X98765432"
    for _ in range(200):
        body = f"{generator.randint(110000, 659999)}{generator.randint(1900, 2020)}"
        body += f"{generator.randint(1, 12):02d}{generator.randint(1, 28):02d}{generator.randint(0, 999):03d}"
        check = checks[sum(w * int(d) for w, d in zip(weights, body, strict=True)) % 11]
        assert mask_private_data(body + check, ("id",)).text == "<ID>"
        other = generator.choice([each for each in checks if each != check])
        assert mask_private_data(body + other, ("id",)).text == body + other


def test_cards_follow_luhn() -> None:
    generator = random.Random(1)
    for _ in range(200):
        body = str(generator.randint(4, 5)) + "".join(generator.choice("0123456789") for _ in range(14))
        valid = [digit for digit in "0123456789" if mask_private_data(body + digit, ("card",)).counts["card"]]
        total = sum(sum(divmod(2 * int(digit), 10)) for digit in body[::-2]) + sum(map(int, body[-2::-2]))
        assert valid == [str(-total % 10)]


def test_kinds_can_be_chosen() -> None:
    text = "a@foo.cn 13812345678 8.8.8.8"
    assert mask_private_data(text, ("ip",)).text == "a@foo.cn 13812345678 <IP>"
    assert dict(mask_private_data(text).counts) == {"email": 1, "phone": 1, "ip": 1}
    assert set(KINDS) == {"email", "id", "card", "ip", "phone"}
