from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from dejavu_server.access import token_file
from dejavu_server.cli.serve import app


def run(*arguments: str, path: Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["token", *arguments], env={"DEJAVU_TOKENS": str(path), "COLUMNS": "200"})
    return result.exit_code, result.stdout, result.stderr


def test_a_token_is_made_shown_once_listed_and_revoked(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    code, token, _ = run("create", "poller", "--scope", "predict", "--scope", "record", "--days", "30", path=path)
    assert code == 0
    [caller] = token_file.load(path).callers().values()
    assert caller.credential == token_file.digest(token.strip())
    code, table, _ = run("list", path=path)
    assert code == 0
    assert "poller  valid" in table
    assert "predict,record" in table
    assert token.strip() not in table
    assert run("revoke", "poller", path=path)[0] == 0
    [listed] = json.loads(run("list", "--json", path=path)[1])["tokens"]
    assert (listed["name"], listed["state"], listed["scopes"]) == ("poller", "revoked", ["predict", "record"])
    assert "sha256" not in listed


def test_what_cannot_be_done_exits_with_1_and_wrong_usage_with_2(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    assert run("create", "a", "--scope", "read", path=path)[0] == 0
    for arguments, said in (
        (["create", "a", "--scope", "read"], "'a' exists"),
        (["create", "a b", "--scope", "read"], "not a name"),
        (["revoke", "b"], "no token named 'b'"),
    ):
        code, _, told = run(*arguments, path=path)
        assert code == 1
        assert said in told
        assert "Traceback" not in told
    assert run("create", "b", path=path)[0] == 2
    assert run("create", "b", "--scope", "everything", path=path)[0] == 2
    code, _, told = run("list", path=tmp_path / "none.json")
    assert code == 1
    assert "none.json: No such file" in told
    code, _, told = run("create", "a", "--scope", "read", path=tmp_path / "no" / "tokens.json")
    assert code == 1
    assert "No such file" in told
