"""Addresses of devices: `scheme://user@host:port?option=value`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from edgepress.compress.errors import InputError, without_passwords, without_secrets
from edgepress.compress.kernel.registry import near_names

# A port may be followed by options, which may hold an @.
_PASSWORD = re.compile(r"(//[^:@/?]*:)(?!\d+[/?]).*@")


def masked(url: str) -> str:
    """An address as it may be shown: without a password."""
    plain = unquote(url)
    return without_secrets(_PASSWORD.sub(r"\1…@", plain if _PASSWORD.search(plain) else url))


def shown(url: str) -> str:
    """As `masked`, and also what only might be a password, in a text that is no address."""
    return without_passwords(masked(url))


def refuse_password(url: str) -> None:
    """Refuse an address with a password, before any other message repeats it.

    Raises:
        InputError: It holds one.
    """
    if (shown := masked(url)) != url:
        raise InputError(
            f"the address '{shown}' holds a password, which runs and reports would keep",
            "use a key: ssh-keygen and ssh-copy-id, then leave the password out",
        )


@dataclass(frozen=True)
class Address:
    """A device's address in parts.

    Attributes:
        url: The whole, without its options.
        user: Login name, or "" for the default.
        host: Host name or IP address.
        port: Port, or None for the default.
        options: What follows the question mark.
    """

    url: str
    user: str
    host: str
    port: int | None
    options: Mapping[str, str]


def split_options(url: str, known: Iterable[str]) -> tuple[str, dict[str, str]]:
    """An address and its options.

    Args:
        url: The address.
        known: Options that this kind of device takes.

    Raises:
        InputError: An option is unknown or has no value.
    """
    bare, _, query = url.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    if query and not pairs:
        raise InputError(f"'{query}' in the address '{url}' is not of the form option=value")
    allowed = list(known)
    for name, value in pairs:
        if name not in allowed:
            shown = f"{bare}?{name}=…"  # its value may be a secret
            raise InputError(f"unknown option '{name}' in '{shown}'", near_names(name, allowed))
        if not value:
            raise InputError(f"option '{name}' in '{url}' has no value")
    return bare, dict(pairs)


def read_address(url: str, known: Iterable[str]) -> Address:
    """Split an address with a host.

    Raises:
        InputError: It has no host, or a part is malformed.
    """
    refuse_password(url)
    bare, options = split_options(url, known)
    try:
        parts = urlsplit(bare)
        port = parts.port
    except ValueError as error:
        raise InputError(f"'{url}' is not an address: {error}") from None
    if not parts.hostname or parts.path.strip("/"):
        form = f"{parts.scheme or 'ssh'}://user@host:port"
        raise InputError(f"'{url}' is not an address", f"the form is {form}")
    return Address(bare, parts.username or "", parts.hostname, port, options)
