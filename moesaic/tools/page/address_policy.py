"""Which addresses a page may come from: those of the public internet, and nothing that leads into a private network.

Sources: the special-purpose registries of IANA (RFC 6890 and its successors), and the addresses at which clouds serve
credentials to their machines. Of IPv6 only global unicast (2000::/3) is let through, and of that no form which carries
an IPv4 address inside: a translator on the way would turn it into that address.
"""

import ipaddress
import re
from dataclasses import dataclass

import httpx
from idna import IDNAError

from moesaic.errors import ForbiddenAddressError, InputError

__all__ = ["AddressPolicy", "IPAddress", "literal_address", "port_of", "shown_url", "why_forbidden"]

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_CREDENTIALS = re.compile(r"(//)[^/?#]*@")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")

_FORBIDDEN_V4 = {
    "0.0.0.0/8": "this network",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared by a provider's customers (CGNAT)",
    "127.0.0.0/8": "loopback",
    "168.63.129.16/32": "a cloud's own services",
    "169.254.0.0/16": "link-local, where clouds serve credentials",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved for protocols",
    "192.0.2.0/24": "documentation",
    "192.31.196.0/24": "reserved for protocols",
    "192.52.193.0/24": "reserved for protocols",
    "192.88.99.0/24": "a 6to4 relay",
    "192.168.0.0/16": "private",
    "192.175.48.0/24": "reserved for protocols",
    "198.18.0.0/15": "benchmarking",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
}
_FORBIDDEN_V6 = {
    "2001::/23": "reserved for protocols (Teredo among them)",
    "2001:db8::/32": "documentation",
    "2002::/16": "an IPv4 address inside (6to4)",
    "2620:4f:8000::/48": "reserved for protocols",
    "3fff::/20": "documentation",
    "::/128": "unspecified",
    "::1/128": "loopback",
    "::/96": "an IPv4 address inside (compatible)",
    "::ffff:0:0/96": "an IPv4 address inside (mapped)",
    "64:ff9b::/96": "an IPv4 address inside (NAT64)",
    "64:ff9b:1::/48": "an IPv4 address inside (NAT64)",
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "fec0::/10": "private (site-local)",
    "ff00::/8": "multicast",
}
_NETWORKS_V4 = tuple((ipaddress.IPv4Network(network), why) for network, why in _FORBIDDEN_V4.items())
_NETWORKS_V6 = tuple((ipaddress.IPv6Network(network), why) for network, why in _FORBIDDEN_V6.items())
_UNICAST_V6 = ipaddress.IPv6Network("2000::/3")
_ISATAP = (0x00005EFE, 0x02005EFE)


@dataclass(frozen=True, kw_only=True)
class AddressPolicy:
    """What may be asked. The defaults are for a model that names addresses by itself.

    Raises:
        InputError: a port is out of range, or an exception is not ADDRESS:PORT.
    """

    ports: frozenset[int] = frozenset({80, 443})
    """Ports of public addresses that may be asked."""
    exceptions: frozenset[str] = frozenset()
    """ADDRESS:PORT pairs, such as 127.0.0.1:8080 or [::1]:8080, that are allowed although they are private: each names
    one server that its operator lends to the model. A host name does not do."""

    def __post_init__(self) -> None:
        if bad := [port for port in self.ports if not 0 < port < 2**16]:
            raise InputError(f"ports={bad[0]!r} must be 1 to 65535")
        for pair in self.exceptions:
            _address_and_port(pair)

    def check_url(self, url: str | httpx.URL) -> httpx.URL:
        """The address, taken apart once and for all: what is checked here is what is connected to later.

        Raises:
            ForbiddenAddressError: it is none, has another scheme, a user name, a port that is not allowed, or a host
                that is spelt as neither a name nor an ordinary IP address.
        """
        try:
            parsed = httpx.URL(url)
            host = parsed.raw_host.decode("ascii")
        except (httpx.InvalidURL, IDNAError, ValueError) as error:
            raise _forbidden(url, f"it is no address ({error}); give one such as https://example.org/page") from error

        if parsed.scheme not in _DEFAULT_PORTS:
            raise _forbidden(url, f"its scheme is {parsed.scheme!r}, only http and https are allowed")
        if not host:
            raise _forbidden(url, "it names no host; give one such as https://example.org/page")
        if parsed.userinfo:
            raise _forbidden(url, "it has a user name or password inside; leave them out")

        self._check_port(parsed)
        if literal_address(host) is None:
            _check_name(url, host)
        return parsed.copy_with(fragment=None)

    def check_address(self, address: str, url: httpx.URL) -> IPAddress:
        """An address that the host of `url` has, as far as it may be connected to.

        Raises:
            ForbiddenAddressError: it belongs to no public network, and is no exception.
        """
        try:
            found = ipaddress.ip_address(address)
        except ValueError as error:
            raise _forbidden(url, f"its host leads to {address!r}, which is no IP address") from error

        port = port_of(url)
        if (found, port) in map(_address_and_port, self.exceptions):
            return found

        if why := why_forbidden(found):
            raise _forbidden(url, f"its host leads to {found}, which is {why}")
        if port not in self.ports:
            raise _forbidden(url, f"port {port} is not one of {', '.join(map(str, sorted(self.ports)))}")
        return found

    def _check_port(self, url: httpx.URL) -> None:
        allowed = self.ports | {_address_and_port(pair)[1] for pair in self.exceptions}
        if port_of(url) not in allowed:
            raise _forbidden(url, f"port {port_of(url)} is not one of {', '.join(map(str, sorted(allowed)))}")


def port_of(url: httpx.URL) -> int:
    """The port that a connection goes to."""
    return _DEFAULT_PORTS[url.scheme] if url.port is None else url.port


def literal_address(host: str) -> str | None:
    """The IP address that a host is, in its one ordinary spelling; None for a name."""
    try:
        return str(ipaddress.ip_address(host)) if "%" not in host else None
    except ValueError:
        return None


def why_forbidden(address: IPAddress) -> str:
    """What a forbidden address is; empty for one of the public internet."""
    if isinstance(address, ipaddress.IPv4Address):
        found = next((why for network, why in _NETWORKS_V4 if address in network), "")
    else:
        found = next((why for network, why in _NETWORKS_V6 if address in network), "")
        if not found and address not in _UNICAST_V6:
            found = "not global"
        if not found and (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
            found = "an IPv4 address inside (ISATAP)"
    return found or ("" if address.is_global else "not global")


def _check_name(url: str | httpx.URL, host: str) -> None:
    labels = host.removesuffix(".").split(".")
    if ":" in host or "%" in host:
        raise _forbidden(url, f"its host {host!r} is no IPv6 address in ordinary spelling, without a zone")
    if _NUMBER.fullmatch(labels[-1]):
        raise _forbidden(url, f"its host {host!r} is a number in odd notation; write an IPv4 address as a.b.c.d")
    if len(host) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise _forbidden(url, f"its host {host[:80]!r} is no name of a host")


def _address_and_port(pair: str) -> tuple[IPAddress, int]:
    host, _, port = pair.rpartition(":")
    try:
        found = ipaddress.ip_address(host.removeprefix("[").removesuffix("]")), int(port)
    except ValueError as error:
        raise InputError(f"exceptions: {pair!r} is not ADDRESS:PORT, such as 127.0.0.1:8080") from error

    if not 0 < found[1] < 2**16:
        raise InputError(f"exceptions: the port of {pair!r} must be 1 to 65535")

    return found


def _forbidden(url: str | httpx.URL, why: str) -> ForbiddenAddressError:
    shown = shown_url(url)
    return ForbiddenAddressError(f"{shown!r} is not fetched: {why}", url=shown)


def shown_url(url: str | httpx.URL) -> str:
    """An address as errors name it: of bounded length, and without what stands between `//` and `@`."""
    return _CREDENTIALS.sub(r"\1", str(url))[:500]
