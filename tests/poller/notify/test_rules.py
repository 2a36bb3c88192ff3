"""The file of rules: defaults, secrets of the environment and of files, and errors that name the field."""

from __future__ import annotations

from pathlib import Path

import pytest

from dejavu_poller.notify.rules import InvalidRules, Rules, load_rules, rule_name

TARGET = '[targets.phone]\nkind = "ntfy"\nurl = "https://ntfy.sh/topic"\n'
RULE = '[[rules]]\nkind = "final"\n'
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def load(folder: Path, text: str) -> Rules:
    file = folder / "rules.toml"
    file.write_text(text)
    return load_rules(file)


def test_a_rule_has_a_name_all_targets_and_defaults(tmp_path: Path) -> None:
    rules = load(tmp_path, TARGET + RULE + '[[rules]]\nkind = "swing"\nname = "big"\nteams = ["Celtics"]\nchange = 0.5')
    assert [rule_name(rule) for rule in rules.rules] == ["final", "big"]
    assert rules.targets_of(rules.rules[0]) == ("phone",)
    assert getattr(rules.rules[1], "teams", ()) == ("BOS",)


def test_a_secret_is_in_the_environment_or_in_a_file_and_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", "https://example.com/geheim\n")
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    rules = load(
        tmp_path,
        '[targets.program]\nkind = "webhook"\nurl = { env = "HOOK" }\n'
        f'secret = {{ file = "{tmp_path / "secret"}" }}\n' + RULE,
    )
    target = rules.targets["program"]
    assert target.url.get_secret_value() == "https://example.com/geheim"
    assert "geheim" not in repr(rules)
    assert SECRET not in repr(rules)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (RULE, "targets: Field required"),
        (TARGET + RULE + "minutes = 3", "rules[0].minutes: Extra inputs"),
        (TARGET + '[[rules]]\nkind = "close_late"\nminutes = 13', "rules[0].minutes: "),
        (TARGET + '[[rules]]\nkind = "swing"\nteams = ["Real Madrid"]', "rules[0].teams[0]: "),
        (TARGET + '[[rules]]\nkind = "final"\ntargets = ["radio"]', "has the target 'radio'; expected one of phone"),
        (TARGET + RULE + RULE, "two are named final"),
        ('[targets.a]\nkind = "pager"\nurl = "https://a"\n' + RULE, "targets.a: "),
        ('[targets.a]\nkind = "slack"\nurl = "http://example.com/"\n' + RULE, "targets.a: url: expected https"),
        ('[targets.a]\nkind = "slack"\nurl = "http://127.0.0.1.example.com/"\n' + RULE, "url: expected https"),
        ('[targets.a]\nkind = "slack"\nurl = "file:///etc/passwd"\n' + RULE, "url: expected an address"),
        ('[targets.a]\nkind = "slack"\nurl = "https://[::1"\n' + RULE, "url: not an address"),
        ('[targets.a]\nkind = "ntfy"\nurl = "https://ntfy.sh/"\n' + RULE, "address of a topic"),
        ('[targets.a]\nkind = "slack"\nurl = { env = "DEJAVU_NOT_SET" }\n' + RULE, "DEJAVU_NOT_SET is not set"),
        ('[targets.a]\nkind = "slack"\nurl = { file = "/no/such" }\n' + RULE, "targets.a.url: cannot read /no/such"),
        ('[targets.a]\nkind = "webhook"\nurl = "https://a"\nsecret = "short!"\n' + RULE, "targets.a.secret: "),
        ('[targets.a]\nkind = "webhook"\nurl = "https://a"\nbody = "{$score}"\n' + RULE, "unknown $score"),
        ('[targets.a]\nkind = "webhook"\nurl = "https://a"\nbody = "{\\"x\\": $}"\n' + RULE, "$$"),
        ('[targets.a]\nkind = "webhook"\nurl = "https://a"\nbody = \'{$text}\'\n' + RULE, "not JSON"),
        ('[targets.a]\nkind = "ntfy"\nurl = "https://a/b"\ntoken = "short! \\n x"\n' + RULE, "targets.a.token: "),
        ('[targets.a]\nkind = "ntfy"\nurl = "https://a/b"\ntoken = "schlüssel"\n' + RULE, "targets.a.token: "),
        ("#" * 100_001, "larger than 100,000 bytes"),
    ],
)
def test_an_error_names_the_field_and_shows_no_value_of_a_secret(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InvalidRules) as refused:
        load(tmp_path, text)
    assert words in str(refused.value)
    assert "short!" not in str(refused.value)


def test_plain_http_is_for_this_machine_unless_it_is_allowed(tmp_path: Path) -> None:
    allowed = "allow_http = true"
    for url, more in (("http://localhost:8123/x", ""), ("http://[::1]/x", ""), ("http://ha.lan/x", allowed)):
        load(tmp_path, f'[targets.a]\nkind = "slack"\nurl = "{url}"\n{more}\n' + RULE)
