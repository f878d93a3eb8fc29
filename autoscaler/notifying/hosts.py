"""Which hosts and addresses messages may go to. Pure.

Names come from the configuration, and a name's addresses from whoever answers for it: so the addresses are judged too,
at the time of each connection, and the connection goes to the address that was judged.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAME = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9_.-]{0,251}[a-z0-9])?", re.IGNORECASE)
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
METADATA: tuple[Network, ...] = (
    # Link-local: the metadata services of AWS, Azure, Google Cloud and others, RFC 3927 and RFC 4291.
    ipaddress.ip_network("169.254.0.0/16"),
    ipaddress.ip_network("fe80::/10"),
    ipaddress.ip_network("fd00:ec2::/32"),  # AWS over IPv6
    ipaddress.ip_network("168.63.129.16/32"),  # Azure's wire server
    ipaddress.ip_network("100.100.100.200/32"),  # Alibaba Cloud
)
"""Where clouds hand out credentials; a message goes there only when a CIDR of `allowed_hosts` says so."""


@dataclass(frozen=True, slots=True)
class HostRules:
    """The allow-list. names: exact or behind `*.`, lower case. listed: False = the hosts of the receivers' URLs."""

    names: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    listed: bool = False

    @classmethod
    def of(cls, entries: Iterable[str]) -> HostRules:
        """From the words of `allowed_hosts`. Raises ValueError with the rule and the next step."""
        names, suffixes, networks = set[str](), list[str](), list[Network]()
        for entry in (e.strip().lower() for e in entries):
            try:
                networks.append(ipaddress.ip_network(entry.strip("[]")))
                continue
            except ValueError:
                if re.fullmatch(r"[0-9a-f.:]+/.*", entry) or re.fullmatch(r"[\d.]+", entry):
                    rule = "is not a network; write one such as 10.0.0.0/8, with no bits set behind its length"
                    raise ValueError(f"{entry!r} {rule}") from None
            if not _NAME.fullmatch(entry):
                rule = "is not a host; write hooks.example.com, *.example.com or 10.0.0.0/8, without scheme and port"
                raise ValueError(f"{entry!r} {rule}")
            if entry.startswith("*."):
                suffixes.append(entry[1:])
            else:
                names.add(entry)
        found = frozenset(names), tuple(suffixes), tuple(networks)
        return cls(*found, listed=bool(names or suffixes or networks))

    def refuses_name(self, host: str) -> bool:
        """Whether a host is certainly not on the list; with networks on it, a name's addresses may still be."""
        if not self.listed or self._named(host):
            return False
        address = _address(host)
        return not self.networks if address is None else not self._within(address)

    def refusal(self, host: str, addresses: Sequence[str]) -> str:
        """Why nothing may be sent to a host that has these addresses; empty = it may."""
        found = [a for a in (_address(text) for text in addresses) if a is not None]
        if not found:
            return f"host {host} has no address"
        if self.listed and not self._named(host) and not all(self._within(a) for a in found):
            return f"host {host} is not in allowed_hosts; add it there, or correct the URL"
        for address in found:
            known = _meant(address)
            if known.is_multicast or known.is_unspecified:
                return f"host {host} is {address}, which is no host"
            if any(_in(known, n) for n in METADATA) and not self._within(address):
                return f"host {host} is {address}, where clouds keep credentials; allow its CIDR if it is meant"
        return ""

    def _named(self, host: str) -> bool:
        plain = host.lower().rstrip(".").strip("[]")
        return plain in self.names or any(plain.endswith(s) and plain != s[1:] for s in self.suffixes)

    def _within(self, address: Address) -> bool:
        return any(_in(address, n) or _in(_meant(address), n) for n in self.networks)


def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None


def _meant(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one that only carries it."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _in(address: Address, network: Network) -> bool:
    return address.version == network.version and address in network
