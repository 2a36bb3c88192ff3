"""The file of rules: the moments of games to notify of, and the targets of each notification."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Annotated, Any, Final, Literal, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from standardwebhooks import Webhook

from dejavu_client.access import is_local
from dejavu_feed.horizon import MAX_SLOTS, Horizon
from dejavu_feed.teams import team_code

MAX_BYTES: Final = 100_000
"""Maximum size of the file, and of a file with a secret."""

MAX_RULES: Final = 50
MAX_TARGETS: Final = 20

_TOKEN: Final = re.compile(r"[!-~]+")

TEMPLATE_FIELDS: Final = (
    *("id", "rule", "kind", "title", "text", "time", "link", "game_id"),
    *("home_team", "away_team", "home_score", "away_score", "horizon"),
    *("home_win_probability", "point_forecast", "interval_lower", "interval_upper"),
)
"""Names that a template can use."""


class InvalidRules(ValueError):
    """The file of rules cannot be read, or has an invalid field; the message names it."""


def _revealed(value: object) -> object:
    """Return a secret that is in the environment or in a file."""
    match value:
        case {"env": str(name), **others} if not others:
            if not os.environ.get(name):
                raise ValueError(f"{name} is not set in the environment")
            return os.environ[name].strip()
        case {"file": str(path), **others} if not others:
            try:
                with Path(path).open(encoding="utf-8") as file:
                    return file.read(MAX_BYTES).strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
        case str():
            return value
    raise ValueError('expected a text, { env = "NAME" } or { file = "PATH" }')


def _signing(secret: SecretStr) -> SecretStr:
    try:
        Webhook(secret.get_secret_value())
    except Exception:  # whatever the library raises for texts that are no secret
        raise ValueError("expected whsec_ and at least 24 bytes in Base64") from None
    return secret


Secret = Annotated[SecretStr, BeforeValidator(_revealed)]
"""A text that may be in the environment or in a file, and is never shown."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$")]
Team = Annotated[str, AfterValidator(team_code)]
Minute = Annotated[int, Field(ge=1, le=MAX_SLOTS)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _Target(_Strict):
    """Where notifications go.

    Attributes:
        url: its address; https, unless it is on this machine.
        allow_http: whether an address on another machine may be http, where others can read it.
        token: sent as a bearer token.
        per_minute: maximum number of notifications in a minute; further ones wait.
    """

    url: Secret
    allow_http: bool = False
    token: Secret | None = None
    per_minute: Annotated[int, Field(ge=1, le=600)] = 20

    @field_validator("token")
    @classmethod
    def _check_token(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and not _TOKEN.fullmatch(token.get_secret_value()):
            raise ValueError("expected printable ASCII without spaces, as a header has it")
        return token

    @model_validator(mode="after")
    def _check_url(self) -> _Target:
        try:
            address = urlsplit(self.url.get_secret_value())
            host = address.hostname or ""
        except ValueError:
            raise ValueError("url: not an address") from None
        if address.scheme not in {"http", "https"} or not host:
            raise ValueError("url: expected an address that begins with https://")
        local = is_local(f"[{host}]:1" if ":" in host else f"{host}:1")
        if address.scheme == "http" and not self.allow_http and not local:
            raise ValueError("url: expected https (allow_http = true sends it where others can read it)")
        return self


class WebhookTarget(_Target):
    """A program: JSON of ours, or a template.

    Attributes:
        secret: signs the requests (Standard Webhooks).
        body: template of the body (string.Template) with the names of TEMPLATE_FIELDS; None for JSON of ours.
        content_type: type of the template's body; in JSON the values are escaped.
    """

    kind: Literal["webhook"]
    secret: Annotated[Secret, AfterValidator(_signing)] | None = None
    body: Annotated[str, Field(max_length=10_000)] | None = None
    content_type: Annotated[str, Field(pattern=r"^[\w.+-]+/[\w.+-]+$")] = "application/json"

    @property
    def is_json(self) -> bool:
        """Whether the body is JSON."""
        return "json" in self.content_type

    @model_validator(mode="after")
    def _check_body(self) -> WebhookTarget:
        if self.body is None:
            return self
        template = Template(self.body)
        if not template.is_valid():
            raise ValueError("body: expected $name or ${name}, and $$ for a dollar sign")
        if unknown := set(template.get_identifiers()) - set(TEMPLATE_FIELDS):
            raise ValueError(f"body: unknown ${min(unknown)}; expected {', '.join(TEMPLATE_FIELDS)}")
        if self.is_json:
            try:
                json.loads(template.substitute(dict.fromkeys(TEMPLATE_FIELDS, "0")))
            except ValueError as error:
                raise ValueError(f"body: not JSON ({error}); texts need quotation marks") from None
        return self


class SlackTarget(_Target):
    """An incoming webhook of Slack, or of a program that takes the same."""

    kind: Literal["slack"]


class DiscordTarget(_Target):
    """A webhook of a Discord channel."""

    kind: Literal["discord"]


class NtfyTarget(_Target):
    """A topic of ntfy: its address with the topic.

    Attributes:
        priority: 1 (silent) to 5 (urgent).
        email: address to which ntfy sends it too.
    """

    kind: Literal["ntfy"]
    priority: Annotated[int, Field(ge=1, le=5)] = 3
    email: Annotated[str, Field(pattern=r"^\S+@\S+$", max_length=254)] = ""

    @model_validator(mode="after")
    def _check_topic(self) -> NtfyTarget:
        if not urlsplit(self.url.get_secret_value()).path.strip("/"):
            raise ValueError("url: expected the address of a topic, such as https://ntfy.sh/my-topic")
        return self


Target = Annotated[WebhookTarget | SlackTarget | DiscordTarget | NtfyTarget, Field(discriminator="kind")]


class _Rule(_Strict):
    """A kind of moment.

    Attributes:
        name: its name, part of the ids of its notifications; its kind by default.
        targets: names of targets; empty: all.
    """

    name: Name | Literal[""] = ""
    targets: tuple[str, ...] = ()


class _GameRule(_Rule):
    """A rule with one notification a game.

    Attributes:
        teams: only games of one of these teams; empty: all games.
    """

    teams: tuple[Team, ...] = ()


class CloseLateRule(_GameRule):
    """A close game near its end.

    Attributes:
        points: largest lead, in points.
        minutes: time left in the fourth quarter or in an overtime, at most.
    """

    kind: Literal["close_late"]
    points: Annotated[int, Field(ge=0, le=30)] = 5
    minutes: Annotated[float, Field(gt=0, le=12)] = 5.0


class SwingRule(_GameRule):
    """The win probability of a team rises much in little time.

    Attributes:
        change: rise of the probability.
        minutes: minutes of play within which it rises.
    """

    kind: Literal["swing"]
    change: Annotated[float, Field(ge=0.05, le=1)] = 0.3
    minutes: Annotated[float, Field(gt=0, le=48)] = 6.0


class UpsetRule(_GameRule):
    """The team that was expected to lose becomes likely to win.

    Attributes:
        favorite_by: expected margin of the favorite before the game, in points, at least.
        probability: win probability of the other team, at least.
        from_minute: minute of play from which it is told.
    """

    kind: Literal["upset"]
    favorite_by: Annotated[float, Field(ge=0.5, le=35)] = 5.0
    probability: Annotated[float, Field(gt=0, lt=1)] = 0.5
    from_minute: Minute = 24


class HalfReadyRule(_GameRule):
    """The forecast of the half is ready.

    Attributes:
        minute: minute of play whose forecast is told.
    """

    kind: Literal["half_ready"]
    minute: Annotated[int, Field(ge=1, le=Horizon.HALFTIME.last_slot)] = 18


class FinalRule(_GameRule):
    """The game is over: its result, and whether the intervals held."""

    kind: Literal["final"]


class FeedSilentRule(_Rule):
    """The poller runs, but cannot read the feed while games are in play.

    Attributes:
        seconds: time without news.
    """

    kind: Literal["feed_silent"]
    seconds: Annotated[float, Field(ge=60, le=3600)] = 120.0


class PollerSilentRule(_Rule):
    """No poller reports while games are in play or should have begun.

    Attributes:
        seconds: time without news.
    """

    kind: Literal["poller_silent"]
    seconds: Annotated[float, Field(ge=60, le=3600)] = 120.0


GameRule = CloseLateRule | SwingRule | UpsetRule | HalfReadyRule | FinalRule
SilenceRule = FeedSilentRule | PollerSilentRule
Rule = Annotated[GameRule | SilenceRule, Field(discriminator="kind")]


class Rules(_Strict):
    """The file.

    Attributes:
        name: names of notifications begin with it: notifiers with the same name tell each moment once together.
        page: address of the page, for links to games; empty: no links.
        targets: targets by name.
        rules: the rules.
    """

    name: Name = "dejavu"
    page: Annotated[str, Field(pattern=r"^(https?://\S+)?$", max_length=500)] = ""
    targets: Annotated[dict[Name, Target], Field(min_length=1, max_length=MAX_TARGETS)]
    rules: Annotated[tuple[Rule, ...], Field(min_length=1, max_length=MAX_RULES)]

    @model_validator(mode="after")
    def _check_names(self) -> Rules:
        names = [rule_name(rule) for rule in self.rules]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"rules: two are named {min(twice)}; give them names of their own")
        for rule in self.rules:
            if unknown := set(rule.targets) - self.targets.keys():
                known = ", ".join(sorted(self.targets))
                raise ValueError(f"rules: {rule_name(rule)} has the target {min(unknown)!r}; expected one of {known}")
        return self

    def targets_of(self, rule: GameRule | SilenceRule) -> Sequence[str]:
        """Return the names of the targets of a rule."""
        return rule.targets or tuple(self.targets)


def rule_name(rule: GameRule | SilenceRule) -> str:
    """Return the name of a rule."""
    return rule.name or rule.kind


def load_rules(path: Path) -> Rules:
    """Read a file of rules.

    Raises:
        InvalidRules: if it cannot be read, or a field is invalid; the message has one line for each.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidRules(f"cannot read {path}: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise InvalidRules(f"{path} is larger than {MAX_BYTES:,} bytes")
    try:
        return Rules.model_validate(tomllib.loads(data.decode()))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidRules(f"{path} is not TOML: {error}") from None
    except ValidationError as error:
        raise InvalidRules("\n".join(f"{path}: {_problem(each)}" for each in error.errors())) from None


_KINDS: Final = {
    get_args(each.model_fields["kind"].annotation)[0]
    for union in (WebhookTarget | SlackTarget | DiscordTarget | NtfyTarget, GameRule | SilenceRule)
    for each in get_args(union)
}


def _problem(error: Any) -> str:
    """Return an error with the name of its field, without the value, which may be a secret."""
    path = ""
    for part in error["loc"]:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in _KINDS or not path:  # pydantic names the kind of a target or rule as if it were a field
            path += f".{part}" if path else str(part)
    message = error["msg"].removeprefix("Value error, ")
    return f"{path}: {message}" if path else message
