from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest
from tests.support.fakes.token_issuer import TokenIssuer

from dejavu_server.access.authenticator import Authenticator
from dejavu_server.access.caller import AccessScope, Unauthenticated
from dejavu_server.access.files import AccessFileError
from dejavu_server.access.jwt_tokens import JwtVerifier

METHOD = "/dejavu.v1.RecordService/GetCheckpoint"


@pytest.fixture
def issuer(tmp_path: Path) -> TokenIssuer:
    return TokenIssuer(tmp_path)


@pytest.fixture
def verifier(issuer: TokenIssuer) -> JwtVerifier:
    return JwtVerifier(issuer.jwks, issuer.ISSUER, issuer.AUDIENCE)


def authenticator(issuer: TokenIssuer, now: list[float]) -> Authenticator:
    return Authenticator(None, issuer.jwks, issuer.ISSUER, issuer.AUDIENCE, lambda: now[0])


def test_a_token_says_who_calls_and_what_it_may(issuer: TokenIssuer, verifier: JwtVerifier) -> None:
    caller = verifier.verify(issuer.sign("alice", "read outcome openid"), b"x")
    assert caller.identity == "jwt:alice"
    assert caller.scopes == {AccessScope.READ, AccessScope.OUTCOME}


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.example"},
        {"aud": "other"},
        {"aud": None},
        {"iss": None},
        {"exp": 10**400},
        {"exp": None},
        {"sub": None},
        {"exp": 1},
        {"nbf": 32503680000},
        {"sub": "a\nb"},
        {"sub": ""},
        {"sub": "x" * 129},
        {"exp": "soon"},
    ],
    ids=str,
)
def test_a_token_with_other_claims_is_refused(
    issuer: TokenIssuer, verifier: JwtVerifier, claims: dict[str, Any]
) -> None:
    with pytest.raises(Unauthenticated):
        verifier.verify(issuer.sign(**claims), b"x")


def test_a_token_without_scopes_may_do_nothing(issuer: TokenIssuer, verifier: JwtVerifier) -> None:
    scopes: tuple[Any, ...] = (None, "", 7, ["read"], "READ", "reading")
    for scope in scopes:
        assert verifier.verify(issuer.sign(scope=scope), b"x").scopes == set()


def test_a_token_that_the_issuer_did_not_sign_is_refused(
    issuer: TokenIssuer, verifier: JwtVerifier, tmp_path: Path
) -> None:
    """Signed with another key, with none, or with the public key: the algorithm is that of the key, not the token."""
    (tmp_path / "other").mkdir()
    claims = {"sub": "mallory", "scope": "admin", "iss": issuer.ISSUER, "aud": issuer.AUDIENCE, "exp": 32503680000}
    public = json.loads(issuer.jwks.read_text())["keys"][0]
    for forged in (
        *(TokenIssuer(tmp_path / "other", key_id).sign("mallory", "admin") for key_id in ("one", "two")),
        jwt.encode(claims, "", algorithm="none", headers={"kid": "one"}),
        jwt.encode(claims, public["x"] * 2, algorithm="HS256", headers={"kid": "one"}),
    ):
        with pytest.raises(Unauthenticated):
            verifier.verify(forged, b"x")


@pytest.mark.parametrize("text", ["..", "a.b.c", "e30.e30.e30", "é.b.c", "." * 500], ids=repr)
def test_what_is_no_token_is_refused_with_a_reason_that_does_not_repeat_it(verifier: JwtVerifier, text: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        verifier.verify(text, b"x")
    assert text not in str(caught.value)


@pytest.mark.parametrize(
    "content", ["", "{}", '{"keys": 1}', '{"keys": [1]}', '{"keys": [{"kty": "RSA", "use": "sig"}]}']
)
def test_a_file_that_is_no_set_of_keys_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(content)
    with pytest.raises(AccessFileError, match=r"jwks\.json"):
        JwtVerifier(path, "i", "a")


def test_a_verified_token_is_accepted_until_it_expires(issuer: TokenIssuer) -> None:
    now = [0.0]
    access = authenticator(issuer, now)
    token = issuer.sign(seconds=100)
    [caller] = {access.authorize(METHOD, f"Bearer {token}") for _ in range(5)}
    assert access.is_valid(caller)
    assert caller.expires is not None
    now[0] = caller.expires
    assert not access.is_valid(caller)
    with pytest.raises(Unauthenticated, match="expired"):
        access.authorize(METHOD, f"Bearer {token}")


@pytest.mark.parametrize("content", ['{"keys": []}', '{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}'])
async def test_an_issuer_that_withdraws_all_keys_ends_their_tokens(issuer: TokenIssuer, content: str) -> None:
    """Also while other work, such as reads of a store that stalls, takes all common threads."""
    ended, threads = threading.Event(), ThreadPoolExecutor(1)
    asyncio.get_running_loop().set_default_executor(threads)
    threads.submit(ended.wait, 60)
    access = authenticator(issuer, [0.0])
    looked, token = asyncio.Event(), issuer.sign(seconds=100)
    caller = access.authorize(METHOD, f"Bearer {token}")
    issuer.jwks.write_text(content)
    access.start(looked.set)
    async with asyncio.timeout(30):
        await looked.wait()
    assert not access.is_valid(caller)
    with pytest.raises(Unauthenticated):
        access.authorize(METHOD, f"Bearer {token}")
    await access.close()
    ended.set()
