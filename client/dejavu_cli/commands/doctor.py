"""`dejavu doctor`: checks an installation and says what to do."""

from __future__ import annotations

import itertools
import json
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.client import HTTPException
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import typer
from rich.table import Table
from rich.text import Text

from dejavu.ops.v1.operations_service_pb2 import FeedStatus
from dejavu.v1.game_service_pb2 import GAME_STATUS_LIVE, Game
from dejavu_cli.errors import FAILED
from dejavu_cli.findings import DOCUMENTS, Finding, Severity, fault, ok, warning
from dejavu_cli.options import Call, option
from dejavu_cli.server_checks import DoctorAccess, ServerReport, examine_server
from dejavu_client.access import ClientTlsFiles
from dejavu_client.formatting import pluralize, seconds_text
from dejavu_client.transport.servers import MAX_SERVERS, ServerAddress, Servers, look_up, parse_servers, record_address
from dejavu_common import build
from dejavu_common.rich_console import Console
from dejavu_common.shown_text import visible


def doctor(
    call: Call,
    page: Annotated[str, option("URL", "--page")] = "",
    poller: Annotated[list[str] | None, option("URL", "--poller")] = None,
) -> None:
    """Check an installation and say what to do: exit code 1 if there is a fault, 0 otherwise.

    Checks each server of the target: reach, TLS, token, clock, release, workers, calls, ledger, disk, model.
    Then the poller, its feed and its games, and whether the servers agree. Nothing is recorded.

    Args:
        page: Also check the page there, for example http://HOST:8080.
        poller: Also check the metrics of a poller, for example http://HOST:9465; repeatable, once for each poller.
    """
    access = DoctorAccess(**call.client_options(), tls=call.tls_files)
    findings = list(
        examine_installation(parse_servers(call.target), access, call.timeout, page=page, pollers=poller or ())
    )
    (print_json if call.as_json else print_findings)(findings)
    if any(each.severity is Severity.FAULT for each in findings):
        raise typer.Exit(FAILED)


_WIDTHS: Final = (len("warning"), len("checkpoint"))

_STYLES: Final = {Severity.OK: "green", Severity.WARNING: "yellow", Severity.FAULT: "bold red"}


def print_findings(findings: Sequence[Finding]) -> None:
    """Print findings for people, under the address of each server, and then their number."""
    console = Console(highlight=False)
    for number, (server, group) in enumerate(itertools.groupby(findings, lambda each: each.server)):
        if number:
            console.print(Text(visible(server, line=True) or "installation", style="bold"))
        console.print(_table(list(group)))
    counts = {severity: sum(each.severity is severity for each in findings) for severity in Severity}
    faults, warnings = (pluralize(counts[each], each.value) for each in (Severity.FAULT, Severity.WARNING))
    worst = next((each for each in reversed(Severity) if counts[each]), Severity.OK)
    console.print(Text(f"{faults}, {warnings}, {counts[Severity.OK]} ok", style=_STYLES[worst]))
    if counts[Severity.FAULT] > 1:  # checks come in an order in which a fault may cause the later ones
        first = next(each for each in findings if each.severity is Severity.FAULT)
        place = visible(first.server, line=True) or "the installation"
        console.print(Text(f"begin with {first.check} of {place}: others may follow from it", style="bold"))
    if any(each.section for each in findings):
        console.print(Text(f"pages: {DOCUMENTS}", style="dim"))


def print_json(findings: Sequence[Finding]) -> None:
    """Print findings for programs, one object a line."""
    for each in findings:
        fields = {
            "check": each.check,
            "severity": each.severity.value,
            "server": each.server,
            "message": each.message,
            "remedy": each.remedy,
            "see": each.section and DOCUMENTS + each.section,
        }
        typer.echo(json.dumps(fields))


def _table(findings: Sequence[Finding]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for width in _WIDTHS:
        table.add_column(no_wrap=True, width=width)
    table.add_column(overflow="fold")
    for each in findings:
        text = Text(visible(each.message, line=True))
        if each.remedy:
            see = f" ({each.section})" if each.section else ""
            text.append(f"\n→ {visible(each.remedy, line=True)}{see}", style="dim")
        table.add_row(Text(each.severity.value, style=_STYLES[each.severity]), Text(each.check), text)
    return table


SILENT_SECONDS: Final = 60.0
"""Time since the last report after which no poller is believed to lead: four reports are missing."""

READ_SECONDS: Final = 120.0
DATA_SECONDS: Final = 1800.0
"""Ages of a feed that are reported, as by the alerts DejavuFeedUnread and DejavuFeedOld."""

_MAX_BYTES: Final = 1 << 20
_NO_ANSWER: Final = (OSError, ValueError, HTTPException)
_SAMPLE: Final = re.compile(r"(\w+) (\d{1,12}(?:\.\d+)?(?:e[+-]\d{1,2})?)")  # without labels
_LEADS, _SCOREBOARD_AGE = "dejavu_poll_leads", "dejavu_poll_scoreboard_age_seconds"
_POLLER_DOWN: Final = "runbook.md#dejavupollerdown"


def examine_installation(
    servers: Servers, access: DoctorAccess, timeout: float, *, page: str = "", pollers: Sequence[str] = ()
) -> Iterator[Finding]:
    """Make all checks; yield their findings, server by server, then those about the whole.

    Args:
        servers: the servers of a target.
        access: how to call them.
        timeout: deadline of each call or request, in seconds.
        page: URL of the page; empty to leave it out.
        pollers: URLs of the pollers' metrics.
    """
    yield ok("client", build.described("dejavu"))
    try:
        addresses = _addresses(servers)
    except OSError as error:
        name = f"{servers.name} has no address: {error.strerror or error}"
        yield fault("dns", name, "correct --target, or the name's records", "deployment.md#several-servers")
        return
    with ThreadPoolExecutor(len(addresses)) as threads:
        reports = list(threads.map(lambda each: examine_server(each, access, timeout), addresses))
    for report in reports:
        yield from report.findings
    yield from _agreement(reports)
    known = [report for report in reports if report.stats is not None]
    games = next((report.games for report in reports if report.games is not None), None)
    if known:
        yield _feed(known, games or ())
    if games is not None:
        yield _games(games, known)
    if pollers:
        yield from _pollers(pollers, timeout)
    if page:
        yield _page(page, access.tls, timeout)


def _addresses(servers: Servers) -> Sequence[ServerAddress]:
    """Return the addresses of all servers; of a DNS name, those of its records.

    Raises:
        OSError: if the name has no record.
    """
    if servers.name is None:
        return servers.addresses
    return [record_address(servers.name, host) for host in look_up(servers.name)][:MAX_SERVERS]


def _agreement(reports: Sequence[ServerReport]) -> Iterator[Finding]:
    """Yield what servers disagree on; nothing for a single one."""
    several = "deployment.md#several-servers"
    same = "give all servers of the target the same --ledger"

    def ledger(report: ServerReport) -> str:
        # The epoch too: a server may still be on the database from which another one was restored.
        head = report.checkpoint
        return f"{head.ledger_id}, epoch {head.epoch}" if head else ""

    one_ledger = len({ledger(report) for report in reports if report.checkpoint}) == 1
    questions: Sequence[tuple[str, Callable[[ServerReport], str], Callable[..., Finding], str, str]] = (
        ("ledgers", ledger, fault, same, several),
        (
            "keys",
            lambda each: each.checkpoint.public_key.hex()[:12] if each.checkpoint and one_ledger else "",
            warning,
            "give all servers of a ledger the same --signing-key",
            "deployment.md#postgresql",
        ),
        (
            "models",
            lambda each: each.models[0].version[:12] if each.models else "",
            warning,
            "give all servers the same bundle, or wait until they follow the store",
            "runbook.md#dejavumodelsdiverge",
        ),
        (
            "releases",
            lambda each: ", ".join(sorted({w.version for w in each.stats.server.workers})) if each.stats else "",
            warning,
            "finish the upgrade, or take it back",
            "runbook.md#dejavuversionskew",
        ),
    )
    if one_ledger:
        yield from _settings(reports)
    for what, answer, make, remedy, section in questions:
        answers = {report.name: answer(report) for report in reports}
        if len({each for each in answers.values() if each}) > 1:
            differ = "; ".join(f"{name}: {each}" for name, each in answers.items() if each)
            yield make(what, f"the servers differ: {differ}", remedy, section)


def _settings(reports: Sequence[ServerReport]) -> Iterator[Finding]:
    """Yield the finding about settings in which servers of one ledger differ; nothing if they agree."""
    known = {
        report.name: {each.name: each.value for each in report.stats.server.settings}
        for report in reports
        if report.stats is not None
    }
    names = sorted({name for settings in known.values() for name in settings})
    differ = [
        f"{name} is " + ", ".join(f"{settings[name]} at {server}" for server, settings in known.items())
        for name in names
        if all(name in settings for settings in known.values())  # otherwise of another release
        and len({settings[name] for settings in known.values()}) > 1
    ]
    if differ:
        same = "start all servers of a ledger with the same of these settings"
        yield warning("settings", f"the servers differ: {'; '.join(differ)}", same, "deployment.md#several-servers")


def _feed(reports: Sequence[ServerReport], games: Sequence[Game]) -> Finding:
    """Return the finding about the feed, as those who published the games reported it to any of the servers."""
    publishers = {game.published_by for game in games if game.status == GAME_STATUS_LIVE}
    publishers = publishers or {game.published_by for game in games}
    newest: dict[str, FeedStatus] = {}
    for feed in (feed for report in reports if report.stats is not None for feed in report.stats.feeds):
        if publishers and feed.reported_by not in publishers:
            continue
        if feed.feed not in newest or feed.report_age_seconds < newest[feed.feed].report_age_seconds:
            newest[feed.feed] = feed
    if not newest:
        start = "start `dejavu poll` for the games to be forecast"
        return warning("poller", "none has reported in the last 15 minutes", start, _POLLER_DOWN)
    texts = []
    for feed in newest.values():
        text = f"feed {feed.feed} read {seconds_text(feed.read_age_seconds)} ago"
        text += f", {pluralize(feed.live_games, 'game')} in play"
        if feed.report_age_seconds > SILENT_SECONDS:
            silent = f"none has reported for {seconds_text(feed.report_age_seconds)}"
            see = "see its log: it has ended, cannot reach the servers, or does not lead"
            return fault("poller", silent, see, _POLLER_DOWN)
        if feed.read_age_seconds > READ_SECONDS:
            see = "see the poller's log: the feed does not answer"
            return fault("poller", text, see, "runbook.md#dejavufeedunread")
        if feed.data_age_seconds > DATA_SECONDS:
            old = f"{text}, data {seconds_text(feed.data_age_seconds)} old"
            look = "look at the game on another site; do not use its forecasts"
            return warning("poller", old, look, "runbook.md#dejavufeedold")
        texts.append(text)
    return ok("poller", "; ".join(texts))


def _games(games: Sequence[Game], reports: Sequence[ServerReport]) -> Finding:
    """Return the finding about the games that a poller published."""
    live = [game for game in games if game.status == GAME_STATUS_LIVE]
    text = f"{pluralize(len(games), 'game')} published in the last 24 hours, {len(live)} in play"
    limits = [report.stats.ledger.caller_games for report in reports if report.stats is not None]
    limit = min((each for each in limits if each), default=0)
    if limit and limit < len(games):
        few = f"{text}; a worker records at most {limit} a day for one caller from another machine"
        return warning("games", few, "raise --caller-games", "security.md#one-caller-among-many")
    oldest = max((time.time() - game.published_time.ToNanoseconds() / 1e9 for game in live), default=0.0)
    if oldest > DATA_SECONDS:
        stale = f"{text}, of which one was last published {seconds_text(oldest)} ago"
        return warning("games", stale, "see the poller's log", "runbook.md#dejavufeedold")
    return ok("games", text)


def _pollers(urls: Sequence[str], timeout: float) -> Iterator[Finding]:
    """Yield the findings about the pollers by their metrics."""
    leaders = 0
    for url in urls:
        try:
            _, text = _fetch(url, "/metrics", None, timeout)
        except _NO_ANSWER as error:
            start = "start it, or correct --metrics-listen and --poller"
            yield fault("metrics", f"{url}: {_reason(error)}", start, _POLLER_DOWN)
            continue
        samples = {match[1]: match[2] for match in map(_SAMPLE.fullmatch, text.splitlines()) if match is not None}
        if _LEADS not in samples:
            correct = "give the address of the poller's --metrics-listen"
            yield fault("metrics", f"{url}: not a poller's", correct, _POLLER_DOWN)
            continue
        leads = float(samples[_LEADS]) > 0
        leaders += leads
        age = float(samples.get(_SCOREBOARD_AGE, "0"))
        text = f"{url}: {'leads' if leads else 'stands by'}, scoreboard read {seconds_text(age)} ago"
        if leads and age > READ_SECONDS:
            yield fault("metrics", text, "see its log: the feed does not answer", "runbook.md#dejavufeedunread")
        else:
            yield ok("metrics", text)
    if leaders != 1:
        text = f"{leaders} of {pluralize(len(urls), 'poller')} lead; expected 1"
        compare = "give --poller for each; " + (
            "compare --lease and --target" if leaders else "the ledger, which keeps the lease, fails; or see its log"
        )
        yield warning("metrics", text, compare, "runbook.md#dejavupollerleaders")


def _page(url: str, tls: ClientTlsFiles | None, timeout: float) -> Finding:
    """Return the finding about the page, by its endpoints of health."""
    try:
        alive, _ = _fetch(url, "/healthz", tls, timeout)
        ready, text = _fetch(url, "/readyz", tls, timeout)
    except _NO_ANSWER as error:
        start = "start dejavu-dashboard, or correct --page"
        return fault("page", f"{url}: {_reason(error)}", start, "runbook.md#dejavudashboarddown")
    status = _json(text)
    if alive != HTTPStatus.OK or "serving" not in status:
        other = f"{url}: not the page: /healthz answers {alive}, /readyz {ready}"
        return fault("page", other, "correct --page", "runbook.md#dejavudashboarddown")
    if ready != HTTPStatus.OK or not status.get("streaming"):
        text = f"{url}: {status.get('reason')}: {status.get('message')}"
        broken = status.get("reason") == "LEDGER_BROKEN"
        see = "see the ledger of its server" if broken else "the page's server is not this one, or refuses it"
        return fault("page", text, see, "runbook.md#dejavudashboardnotstreaming")
    return ok("page", f"{url}: ready")


def _json(text: str) -> dict[str, Any]:
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _reason(error: Exception) -> str:
    if isinstance(error, HTTPException):
        return "no answer of HTTP"
    reason = getattr(error, "reason", None) or error
    return str(getattr(reason, "strerror", None) or reason)


def _fetch(url: str, path: str, tls: ClientTlsFiles | None, timeout: float) -> tuple[int, str]:
    """Return status and text of an answer to GET.

    Raises:
        OSError: without an answer.
        HTTPException: if the answer is none of HTTP.
        ValueError: if the URL is none of HTTP.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("expected http://HOST:PORT or https://HOST:PORT")
    base = parts.path.rstrip("/").removesuffix(path)
    context = ssl.create_default_context(cafile=tls.ca) if tls is not None else None
    address = f"{parts.scheme}://{parts.netloc}{base}{path}"
    try:
        with urllib.request.urlopen(address, timeout=timeout, context=context) as answer:  # noqa: S310 - checked above
            return int(answer.status), answer.read(_MAX_BYTES).decode(errors="replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(_MAX_BYTES).decode(errors="replace")
