"""Tokens of a file and JSON Web Tokens of an issuer: who calls, what it may, and until when."""

from __future__ import annotations

import asyncio
import json
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from tests.support.fakes.token_issuer import TokenIssuer
from typer.testing import CliRunner

from dejavu_common.clock import utc_now
from dejavu_server.access import token_file
from dejavu_server.access.authenticator import Authenticator
from dejavu_server.access.caller import AccessScope, Unauthenticated
from dejavu_server.access.files import AccessFileError
from dejavu_server.access.jwt_tokens import JwtVerifier
from dejavu_server.cli.serve import app

READ = (AccessScope.READ,)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def run(*arguments: str, path: Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["token", *arguments], env={"DEJAVU_TOKENS": str(path), "COLUMNS": "200"})
    return result.exit_code, result.stdout, result.stderr


def test_a_token_is_made_shown_once_listed_and_revoked(path: Path) -> None:
    code, token, _ = run("create", "poller", "--scope", "predict", "--scope", "record", "--days", "30", path=path)
    token = token.strip()
    assert (code, token.startswith("djv_"), len(token) > 40) == (0, True, True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token not in path.read_text()
    [caller] = token_file.load(path).callers().values()
    assert (caller.identity, caller.scopes) == ("token:poller", frozenset({AccessScope.PREDICT, AccessScope.RECORD}))
    assert caller.credential == token_file.digest(token)
    code, table, _ = run("list", path=path)
    assert (code, "poller" in table, token in table) == (0, True, False)
    assert run("revoke", "poller", path=path)[0] == 0
    [listed] = json.loads(run("list", "--json", path=path)[1])["tokens"]
    assert (listed["name"], listed["state"], listed["scopes"]) == ("poller", "revoked", ["predict", "record"])
    assert "sha256" not in listed


def test_what_cannot_be_done_exits_with_1_and_wrong_usage_with_2(path: Path) -> None:
    assert run("create", "a", "--scope", "read", path=path)[0] == 0
    for arguments, code in (
        (["create", "a", "--scope", "read"], 1),  # it exists
        # A log or an entry could misread these names.
        *((["create", "--scope", "read", "--", name], 1) for name in ("", "a b", "-x", "x" * 65, "é", "a\n")),
        (["revoke", "b"], 1),
        (["create", "b"], 2),
        (["create", "b", "--scope", "everything"], 2),
    ):
        exit_code, _, told = run(*arguments, path=path)
        assert (exit_code, "Traceback" in told) == (code, False)
    assert run("list", path=path.parent / "none.json")[0] == 1
    assert run("create", "a", "--scope", "read", path=path.parent / "no" / "tokens.json")[0] == 1


def test_a_token_is_valid_until_it_expires_and_its_name_free_once_it_is_revoked(path: Path) -> None:
    now = utc_now()
    token_file.create(path, "alice", READ, now)
    token_file.revoke(path, "alice", now)
    assert token_file.load(path).callers() == {}
    token_file.create(path, "alice", READ, now, now + timedelta(hours=1))
    revoked, valid = token_file.load(path).tokens
    assert [revoked.state(now), valid.state(now), valid.state(now + timedelta(hours=1))] == [
        "revoked",
        "valid",
        "expired",
    ]


def test_a_file_that_is_no_file_of_tokens_is_refused_with_the_place_and_not_its_content(path: Path) -> None:
    token_file.create(path, "alice", READ, utc_now())
    valid = path.read_text()
    secret = json.loads(valid)["tokens"][0]["sha256"]
    for content, mode, said in (
        ("", 0o600, "not a file of tokens"),
        ("[]", 0o600, "not a file of tokens"),
        ('{"tokens": [{"name": "a"}]}', 0o600, r"tokens\.0\.scopes"),
        (valid.replace('"read"', '"everything"'), 0o600, r"tokens\.0\.scopes"),
        (valid.replace('"tokens"', '"secret": 1, "tokens"'), 0o600, "secret"),
        (valid, 0o666, "everybody may change it"),
    ):
        path.write_text(content)
        path.chmod(mode)
        with pytest.raises(AccessFileError, match=said) as caught:
            token_file.load(path)
        assert (secret in str(caught.value), "everything" in str(caught.value)) == (False, False)


def test_processes_that_add_tokens_at_once_lose_none(path: Path) -> None:
    with ThreadPoolExecutor(16) as threads:
        for number in range(16):
            threads.submit(token_file.create, path, f"holder{number}", READ, utc_now())
    assert len(token_file.load(path).tokens) == 16
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name]


METHOD = "/dejavu.v1.RecordService/GetCheckpoint"


@pytest.fixture
def issuer(tmp_path: Path) -> TokenIssuer:
    return TokenIssuer(tmp_path)


@pytest.fixture
def verifier(issuer: TokenIssuer) -> JwtVerifier:
    return JwtVerifier(issuer.jwks, issuer.ISSUER, issuer.AUDIENCE)


def authenticator(issuer: TokenIssuer, now: list[float]) -> Authenticator:
    return Authenticator(None, issuer.jwks, issuer.ISSUER, issuer.AUDIENCE, lambda: now[0])


WRONG_CLAIMS: dict[str, list[Any]] = {
    "iss": ["https://other.example", None],
    "aud": ["other", None],
    "exp": [10**400, None, 1, "soon"],
    "nbf": [32503680000],
    "sub": [None, "a\nb", "", "x" * 129],
}


@pytest.mark.parametrize("claim", WRONG_CLAIMS)
def test_a_token_with_other_claims_is_refused(issuer: TokenIssuer, verifier: JwtVerifier, claim: str) -> None:
    for value in WRONG_CLAIMS[claim]:
        with pytest.raises(Unauthenticated):
            verifier.verify(issuer.sign(**{claim: value}), b"x")


def test_a_token_says_who_calls_and_what_it_may(issuer: TokenIssuer, verifier: JwtVerifier) -> None:
    caller = verifier.verify(issuer.sign("alice", "read outcome openid"), b"x")
    assert (caller.identity, caller.scopes) == ("jwt:alice", frozenset({AccessScope.READ, AccessScope.OUTCOME}))
    scopes: tuple[Any, ...] = (None, "", 7, ["read"], "READ", "reading")
    assert [verifier.verify(issuer.sign(scope=scope), b"x").scopes for scope in scopes] == [set()] * len(scopes)


def test_a_token_of_another_signer_is_refused(issuer: TokenIssuer, verifier: JwtVerifier, tmp_path: Path) -> None:
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


def test_a_file_that_is_no_set_of_keys_is_refused(path: Path) -> None:
    for content in ("", "{}", '{"keys": 1}', '{"keys": [1]}', '{"keys": [{"kty": "RSA", "use": "sig"}]}'):
        path.write_text(content)
        with pytest.raises(AccessFileError, match=path.name):
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
