"""What a URL says of the connections to a PostgreSQL database, as parameters of libpq."""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from dejavu_server.ledger.errors import InvalidLedgerUrl
from dejavu_server.ledger_url import check_ledger_url

CONNECT_SECONDS: Final = 2
"""How long connecting to one host may take; the shortest time that libpq allows."""

_DEFAULTS: Final[dict[str, Any]] = {
    "application_name": "dejavu-server",
    "connect_timeout": CONNECT_SECONDS,
    # A database that vanished without closing its connections, as in a power loss, is noticed after some 10 s.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


def connection_parameters(url: str) -> dict[str, Any]:
    """Returns the parameters of a connection; what the URL sets is kept, and the environment adds what libpq reads.

    Raises:
        InvalidLedgerUrl: if the URL is none of PostgreSQL, or contains a password; the message never repeats it.
    """
    try:
        check_ledger_url(url)
        given = {name: value for name, value in conninfo_to_dict(url).items() if value is not None}
    except ValueError as error:
        raise InvalidLedgerUrl(str(error)) from None
    except psycopg.Error:
        raise InvalidLedgerUrl(f"{url!r} is no URL of libpq; expected postgresql://USER@HOST/DATABASE") from None
    several = "," in str(given.get("host", "")) + str(given.get("hostaddr", ""))
    primary = {"target_session_attrs": "read-write"} if several else {}
    return _DEFAULTS | primary | given | {"client_encoding": "UTF8"}
