"""Owns which addresses a channel may have: nothing inside our own network is called; used by clients."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

NAT64 = IPv6Network("64:ff9b::/96")
"""Addresses that lead to the IPv4 address in their last 32 bits."""


class AddressRefused(Exception):
    """Channels on private, local or reserved addresses are not called."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public Internet; False for what is none."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if found in NAT64:
            inner = IPv4Address(int(found) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(str(inner))
    return found.is_global and not found.is_multicast


def literal_address(url: str) -> str | None:
    """The IP address a URL names in place of a host, None for a name. Raises ValueError for what is no URL."""
    host = urlsplit(url).hostname or ""
    try:
        return str(ip_address(host.partition("%")[0]))
    except ValueError:
        return None
