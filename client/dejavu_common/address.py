"""Network addresses as users write them."""

from __future__ import annotations

from typing import NamedTuple


class Address(NamedTuple):
    """A host and a TCP port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parses HOST:PORT; an IPv6 host must be in brackets.

        Raises:
            ValueError: if the text has another form.
        """
        host, colon, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            host = ""
        if not (colon and host and port.isascii() and port.isdigit() and int(port) <= 65535):
            raise ValueError(f"{text!r} is not HOST:PORT (such as 127.0.0.1:50051 or [::1]:50051)")
        try:
            host.encode("idna")  # the encoding used for DNS lookups
        except UnicodeError:
            raise ValueError(f"{host!r} is not a valid host name") from None
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
