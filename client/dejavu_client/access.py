"""Client credentials: bearer tokens, and TLS credentials from files.

A token is sent as metadata `authorization` with every call. It appears in no repr, message or log line.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import grpc

from dejavu_client.config import CallMetadata
from dejavu_client.logs import get_logger
from dejavu_common.address import Address

TokenSource = str | Callable[[], str]
"""A bearer token, or a function that returns the newest token and is called before each attempt of a call."""

AUTHORIZATION = "authorization"

_LOCAL_SCHEMES = ("unix:", "unix-abstract:")
_ADDRESS_SCHEMES = ("dns:", "ipv4:", "ipv6:")

log = get_logger()


class ClientTlsFiles(NamedTuple):
    """Files of a client's TLS options.

    Attributes:
        ca: authorities to trust; None for those that gRPC trusts by default.
        certificate: the client's own certificate; None for none.
        key: private key of the certificate.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


Credentials = grpc.ChannelCredentials | Callable[[], grpc.ChannelCredentials]
"""TLS credentials, or a function that returns the newest ones, and the same object until they change."""


def newest_credentials(credentials: Credentials) -> grpc.ChannelCredentials:
    """Return the credentials for a connection that is made now."""
    return credentials if isinstance(credentials, grpc.ChannelCredentials) else credentials()


_T = TypeVar("_T")


class _Files(Generic[_T]):
    """The content of some files, read again when one of them changes.

    While they cannot be used, the last content is.

    Args:
        read: reads them; raises OSError or ValueError if they cannot be used.
        paths: the files.
        unreadable: name of the log line that says so.

    Raises:
        OSError, ValueError: if they cannot be used on creation.
    """

    def __init__(self, read: Callable[[], _T], paths: Sequence[Path], unreadable: str) -> None:
        self._read, self._paths, self._unreadable = read, paths, unreadable
        self._versions = self._newest_versions()
        self._content = read()
        self._logged = ""

    def __call__(self) -> _T:
        """Return the newest content."""
        try:
            versions = self._newest_versions()
            if versions != self._versions:
                self._content = self._read()
                self._versions, self._logged = versions, ""
        except (OSError, ValueError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or str(error)
            if reason != self._logged:  # once, however many calls ask
                self._logged = reason
                log.warning(self._unreadable, path=", ".join(map(str, self._paths)), error=reason)
        return self._content

    def _newest_versions(self) -> list[tuple[int, int, int]]:
        """Return a key of each file's version. It includes the inode: a rename usually replaces the file."""
        stats = [path.stat() for path in self._paths]
        return [(stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats]


def tls_credentials(
    *,
    ca: str | os.PathLike[str] | None = None,
    certificate: str | os.PathLike[str] | None = None,
    key: str | os.PathLike[str] | None = None,
) -> Callable[[], grpc.ChannelCredentials]:
    """Return credentials for TLS connections, from files in PEM format.

    The files are read again when one of them changes, so that renewed certificates need no restart.

    Args:
        ca: certificates of the authorities to trust; None for the authorities that gRPC trusts by default.
        certificate: the client's own certificate, followed by any intermediate certificates, for mutual TLS.
        key: private key of `certificate`, not encrypted.

    Raises:
        OSError: if a file cannot be read.
        ValueError: if a file has unexpected content, the key does not belong to the certificate, or only one of
            `certificate` and `key` is given.
    """
    if (certificate is None) != (key is None):
        given, missing = ("certificate", "key") if key is None else ("key", "certificate")
        raise ValueError(f"{given} is given without {missing}; expected both, or neither")
    paths = [Path(each) for each in (ca, certificate, key) if each is not None]
    return _Files(partial(_read_credentials, ca, certificate, key), paths, "tls_files_unusable")


def _read_credentials(
    ca: str | os.PathLike[str] | None,
    certificate: str | os.PathLike[str] | None,
    key: str | os.PathLike[str] | None,
) -> grpc.ChannelCredentials:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authorities = chain = private = None
    if ca is not None:
        authorities = Path(ca).read_bytes()
        try:
            context.load_verify_locations(cadata=authorities.decode("ascii"))
        except (ssl.SSLError, ValueError):
            raise ValueError(f"ca={os.fspath(ca)!r} contains no valid certificate; expected PEM") from None
    if certificate is not None and key is not None:
        chain, private = Path(certificate).read_bytes(), Path(key).read_bytes()
        try:
            context.load_cert_chain(certificate, key, password=_no_password)
        except (ssl.SSLError, ValueError) as error:
            raise ValueError(
                f"certificate={os.fspath(certificate)!r} and key={os.fspath(key)!r} do not work together "
                f"({_reason(error)}); expected PEM files of a certificate and of its private key, not encrypted"
            ) from None
    return grpc.ssl_channel_credentials(authorities, private, chain)


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return str(reason).replace("_", " ").lower() if reason else str(error)


class TokenFile:
    """Token in a file, for `token=`; read again when the file changes, so that a rotated token needs no restart.

    While the file cannot be read, or is empty, the last token is used.

    Args:
        path: the file; its first line is the token.

    Raises:
        OSError: if the file cannot be read on creation.
        ValueError: if it contains no token on creation.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._newest = _Files(self._read, [self.path], "token_file_unreadable")

    def __call__(self) -> str:
        """Return the newest token."""
        return self._newest()

    def __repr__(self) -> str:
        return f"TokenFile({str(self.path)!r})"

    def _read(self) -> str:
        try:
            text = self.path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"{str(self.path)!r} is not a text file; expected a token") from None
        token, _, _ = text.strip().partition("\n")
        return checked_token(token, f"the first line of {str(self.path)!r}")


def checked_token(token: object, what: str = "token") -> str:
    """Return a token after checking that it can be sent.

    Args:
        token: the token.
        what: description for the error message, which does not contain the token.

    Raises:
        ValueError: if the token is not text, is empty, or contains anything but printable ASCII characters except
            spaces.
    """
    if not isinstance(token, str):
        raise ValueError(f"{what} is of type {type(token).__name__}; expected text")
    token = token.strip()
    if not token:
        raise ValueError(f"{what} is empty; expected a token")
    if not all("!" <= character <= "~" for character in token):
        raise ValueError(f"{what} is not a token; expected printable ASCII without spaces")
    return token


def bearer_metadata(
    target: str, token: TokenSource | None, metadata: CallMetadata, *, encrypted: bool
) -> Callable[[], CallMetadata]:
    """Return a function that returns the metadata of a call: `metadata` and the token.

    Args:
        target: server address, in gRPC's notation.
        token: the token; None for none.
        metadata: the other metadata.
        encrypted: whether the connection is encrypted, or the caller allows the token in plain text.

    Raises:
        ValueError: if the token would be sent in plain text to another machine, is invalid, or `metadata` has a token
            too.
    """
    if token is None:
        return lambda: metadata
    if any(key.lower() == AUTHORIZATION for key, _ in metadata):
        raise ValueError(f"both a token and metadata {AUTHORIZATION!r} are given; expected one of them")
    if not encrypted and not is_local(target):
        raise ValueError(
            f"the token would be sent to {target} in plain text, where others can read it: pass "
            "credentials=tls_credentials(…), or allow_plaintext_token=True if something else protects the network"
        )
    if callable(token):
        newest = token
        return lambda: (*metadata, (AUTHORIZATION, f"Bearer {checked_token(newest())}"))
    complete = (*metadata, (AUTHORIZATION, f"Bearer {checked_token(token)}"))
    return lambda: complete


def is_local(target: str) -> bool:
    """Return whether data sent to an address, in gRPC's notation, stays on this machine."""
    if target.startswith(_LOCAL_SCHEMES):
        return True
    scheme = next((scheme for scheme in _ADDRESS_SCHEMES if target.startswith(scheme)), "")
    if "/" in target and not scheme:  # a resolver of another kind may return any address
        return False
    # gRPC's "dns://authority/host:port" names a name server; "ipv4:" and "ipv6:" may list several addresses.
    endpoints = target.removeprefix(scheme).rpartition("/")[2].split(",")
    return all(_is_loopback(each) for each in endpoints)


def _is_loopback(endpoint: str) -> bool:
    try:
        host = Address.parse(endpoint).host
    except ValueError:  # the endpoint has no port
        host = endpoint.strip("[]")
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
