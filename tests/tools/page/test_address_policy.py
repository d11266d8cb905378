"""Which addresses may be asked. Nothing here connects to anything."""

import ipaddress

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.errors import ForbiddenAddressError, InputError
from moesaic.tools.page import AddressPolicy
from moesaic.tools.page.address_policy import shown_url, why_forbidden

POLICY = AddressPolicy()
URL = httpx.URL("https://site.test/")

_FORBIDDEN = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 168.63.129.16
169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.192 192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1
198.19.255.255 198.51.100.7 203.0.113.9 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
:: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:8.8.8.8 ::ffff:0:127.0.0.1 64:ff9b::7f00:1
64:ff9b::808:808 64:ff9b:1::a00:1 100::1 2001::1 2001:0:7f00:1:: 2001:db8::1 2002:7f00:1:: 2002:808:808::1
3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 febf::1 fec0::1 ff02::1 ff0e::1 4000::1
2606:4700::5efe:7f00:1 2606:4700::200:5efe:a00:1
"""
_PUBLIC = "1.1.1.1 8.8.8.8 93.184.215.14 100.63.255.255 100.128.0.1 172.32.0.1 2606:4700:4700::1111 2a00:1450:4001::1"

ODD = [
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://127.1/",
    "http://127.0.1/",
    "http://0/",
    "http://1.2.3.4.5/",
    "http://127.0.0.1./",
    "http://127。0。0。1/",
    "http://１２７.0.0.1/",
    "http://①②⑦.0.0.1/",
    "http://%31%32%37.0.0.1/",
    "http://[::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://site.0x1/",
]
NO_ADDRESSES = [
    "",
    " ",
    "site.test",
    "//site.test/",
    "http:",
    "http://",
    "http:///path",
    "http:site.test",
    "http://:80/",
    "http://[::1",
    "http://ex ample.test/",
    "http://exa\\mple.test/",
    "http://site.test\\@127.0.0.1/",
    "http://-x.test/",
    "http://a..test/",
    "http://" + "a" * 64 + ".test/",
    "http://" + "abcdefg." * 40 + "test/",
    "http://site.test/\n",
    "http://site.test\t/",
    "http://xn--/",
    "http://\u200bsite.test/",
    "http://site.test:99999/",
    "http://site.test:abc/",
]
SCHEMES = ["file:///etc/passwd", "ftp://site.test/", "gopher://site.test/", "javascript:alert(1)", "data:text/html,x"]


@pytest.mark.parametrize("address", _FORBIDDEN.split())
def test_private_and_special_addresses_are_refused(address: str) -> None:
    assert why_forbidden(ipaddress.ip_address(address))
    with pytest.raises(ForbiddenAddressError, match=r"'https://site\.test/' is not fetched: its host leads to"):
        POLICY.check_address(address, URL)


@pytest.mark.parametrize("address", _PUBLIC.split())
def test_public_addresses_pass(address: str) -> None:
    assert str(POLICY.check_address(address, URL)) == address


@pytest.mark.parametrize("url", [*ODD, *NO_ADDRESSES, *SCHEMES])
def test_odd_spellings_and_what_is_no_web_address_are_refused(url: str) -> None:
    def check() -> None:
        parsed = POLICY.check_url(url)
        # An IP address in ordinary spelling passes that far; what it is decides.
        POLICY.check_address(parsed.host.removesuffix("."), parsed)

    with pytest.raises(ForbiddenAddressError, match="is not fetched"):
        check()


@pytest.mark.parametrize(
    "url", ["http://user:secret@site.test/", "https://token@site.test/x?y@z", "http://:pw@site.test/"]
)
def test_credentials_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ForbiddenAddressError, match="user name or password") as caught:
        POLICY.check_url(url)
    assert not {"secret", "token", "pw@"} & set(str(caught.value).replace("/", " ").replace(":", " ").split())
    assert "@site" not in str(caught.value)


@pytest.mark.parametrize("port", [1, 22, 25, 6379, 8080, 9200, 65535])
def test_other_ports_are_refused(port: int) -> None:
    with pytest.raises(ForbiddenAddressError, match=rf"port {port} is not one of 80, 443"):
        POLICY.check_url(f"http://site.test:{port}/")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://site.test", "site.test"),
        ("HTTPS://Site.Test:443/a?b#c", "site.test"),
        ("http://中文.test/路径", "xn--fiq228c.test"),
        ("http://a_b.test/", "a_b.test"),
        ("http://site.test./", "site.test."),
        ("http://site.test?mail=a@b", "site.test"),
        ("http://8.8.8.8/", "8.8.8.8"),
        ("http://[2606:4700::1]/", "2606:4700::1"),
    ],
)
def test_ordinary_addresses_pass(url: str, host: str) -> None:
    parsed = POLICY.check_url(url)
    assert parsed.raw_host.decode() == host
    assert parsed.fragment == ""


def test_an_exception_is_one_server_and_nothing_beside_it() -> None:
    policy = AddressPolicy(exceptions=frozenset({"127.0.0.1:8080", "[::1]:9000"}))
    assert str(policy.check_address("127.0.0.1", policy.check_url("http://site.test:8080/"))) == "127.0.0.1"
    assert str(policy.check_address("::1", policy.check_url("http://[::1]:9000/"))) == "::1"
    for address, port in [
        ("127.0.0.1", 9000),
        ("127.0.0.2", 8080),
        ("::1", 8080),
        ("127.0.0.1", 80),
        ("8.8.8.8", 8080),
        ("::ffff:127.0.0.1", 8080),
    ]:
        with pytest.raises(ForbiddenAddressError):
            policy.check_address(address, policy.check_url(f"http://site.test:{port}/"))


@pytest.mark.parametrize(
    "pair", ["127.0.0.1", "localhost:80", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:70000", "::1", "a"]
)
def test_exceptions_that_are_no_addresses_are_refused(pair: str) -> None:
    with pytest.raises(InputError, match=r"exceptions: .* 127\.0\.0\.1:8080|port of"):
        AddressPolicy(exceptions=frozenset({pair}))


def test_ports_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="ports=0 must be 1 to 65535"):
        AddressPolicy(ports=frozenset({0, 80}))


v4 = st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address)
v6 = st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address)
private_v4 = st.sampled_from(
    ["10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"]
).flatmap(
    lambda network: st.integers(0, ipaddress.ip_network(network).num_addresses - 1).map(
        lambda offset: ipaddress.IPv4Address(int(ipaddress.IPv4Network(network).network_address) + offset)
    )
)


@given(v4)
def test_what_python_holds_for_special_never_passes(address: ipaddress.IPv4Address) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_private:
        assert why_forbidden(address)


@given(v6)
def test_only_global_unicast_of_the_sixth_version_passes(address: ipaddress.IPv6Address) -> None:
    if not why_forbidden(address):
        assert address in ipaddress.ip_network("2000::/3")
        assert address.ipv4_mapped is None
        assert address.sixtofour is None
        assert address.teredo is None
        assert address.is_global


@given(private_v4, st.integers(0, 2**64 - 1))
def test_a_private_address_is_refused_in_every_wrapping(inner: ipaddress.IPv4Address, noise: int) -> None:
    assert why_forbidden(inner)
    number = int(inner)
    wrapped = [
        number,  # compatible
        (0xFFFF << 32) | number,  # mapped
        (0xFFFF0000 << 32) | number,  # translated (SIIT)
        (0x0064FF9B << 96) | number,  # NAT64
        (0x0064FF9B0001 << 80) | number,
        (0x2002 << 112) | (number << 80) | noise,  # 6to4
        (0x20010000 << 96) | noise << 32 & (2**96 - 1) | number,  # Teredo
        (0x2606470000000000 << 64) | (0x5EFE << 32) | number,  # ISATAP
    ]
    for value in wrapped:
        assert why_forbidden(ipaddress.IPv6Address(value)), ipaddress.IPv6Address(value)


@given(private_v4, st.sampled_from(["{0:d}", "0x{0:x}", "0{0:o}", "{1}.{2:d}", "0x{1:x}.{2:d}", "{1}.0x{2:x}"]))
def test_numbers_never_reach_a_resolver(inner: ipaddress.IPv4Address, notation: str) -> None:
    number = int(inner)
    host = notation.format(number, number >> 24, number & 0xFFFFFF)
    with pytest.raises(ForbiddenAddressError):
        POLICY.check_url(f"http://{host}/")


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    for url in (text, f"http://{text}", f"https://{text}.test/", f"http://site.test/{text}"):
        try:
            parsed = POLICY.check_url(url)
        except ForbiddenAddressError:
            continue
        assert parsed.scheme in ("http", "https")
        assert parsed.raw_host
        assert not parsed.userinfo


@given(st.text(max_size=60))
def test_what_is_shown_has_no_credentials(text: str) -> None:
    shown = shown_url(f"http://user:password@site.test/{text}")
    assert shown.startswith("http://site.test/")
    assert len(shown) <= 500
