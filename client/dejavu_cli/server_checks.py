"""Checks of one server."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from dejavu.ops.v1 import operations_service_pb2 as pb
from dejavu.ops.v1.cache_service_pb2 import SHARED_CACHE_STATE_FAILED, SHARED_CACHE_STATE_USED, GetCacheStatsResponse
from dejavu.v1.game_service_pb2 import Game
from dejavu.v1.model_service_pb2 import VERDICT_UNFIT, Model
from dejavu.v1.record_pb2 import Checkpoint
from dejavu_cli.access_checks import examine_access, examine_certificate, speaks_tls
from dejavu_cli.findings import Finding, Severity, fault, ok, warning
from dejavu_client import errors
from dejavu_client.access import ClientTlsFiles, Credentials, TokenSource, is_local
from dejavu_client.client import DejavuClient
from dejavu_client.formatting import OLD_STATISTICS_SECONDS, enum_word, failed_calls, percent, pluralize, seconds_text
from dejavu_client.transport.caller import dial
from dejavu_client.transport.servers import LEDGER, HealthStatus, ServerAddress
from dejavu_common import build
from dejavu_common.address import Address

CLOCK_WARNING_SECONDS: Final = 5.0
CLOCK_FAULT_SECONDS: Final = 60.0
"""Differences of clocks that are reported. A server refuses states of games from more than a minute ahead."""

_SAMPLING_SECONDS: Final = 3.0
"""Greatest age of a server's statistics."""

_NOW_SECONDS: Final = 60
_WINDOW_SECONDS: Final = 900
_SERVER_FAULTS: Final = ("INTERNAL", "UNKNOWN", "DATA_LOSS", "UNAVAILABLE")
_FOLLOWS_FROM_DISK: Final = ("ledger", "checkpoint")
"""Checks that fail with a full disk: only the cause is shown."""

_MOST_FAULTS, _MOST_REFUSALS = 0.01, 0.05


@dataclass(frozen=True, slots=True)
class DoctorAccess:
    """How to call the servers.

    Attributes:
        credentials: TLS credentials; None for plain text.
        token: the token; None for none.
        allow_plaintext_token: whether the token may be sent to another machine in plain text.
        tls: files of the credentials; None for plain text.
    """

    credentials: Credentials | None = None
    token: TokenSource | None = None
    allow_plaintext_token: bool = False
    tls: ClientTlsFiles | None = None

    def client(self, address: ServerAddress, timeout: float, *, token: bool = True) -> DejavuClient:
        """Return a client of one server, with or without the token."""
        return DejavuClient(
            address.target,
            timeout=timeout,
            channels=1,
            credentials=self.credentials,
            token=self.token if token else None,
            allow_plaintext_token=self.allow_plaintext_token,
            slow=math.inf,
            channel_factory=partial(dial, self.credentials, address),
        )


@dataclass(slots=True)
class ServerReport:
    """What was found out about a server.

    Attributes:
        name: its address.
        findings: results of the checks.
        stats: its statistics; None if they are not known.
        checkpoint: the signed head of its ledger; None if it is not known.
        models: its models.
        games: the games that were published to it; None if they are not known.
        cache: statistics of its cache; None if they are not known.
    """

    name: str
    findings: list[Finding] = field(default_factory=list)
    stats: pb.GetServiceStatsResponse | None = None
    checkpoint: Checkpoint | None = None
    models: Sequence[Model] = ()
    games: Sequence[Game] | None = None
    cache: GetCacheStatsResponse | None = None

    @property
    def has_lost_ledger(self) -> bool:
        """Whether a check has found the ledger unusable; findings with the same cause are left out."""
        return any(each.check == "ledger" and each.severity is Severity.FAULT for each in self.findings)

    def add(self, *findings: Finding | None) -> None:
        """Add findings about this server; None is no finding."""
        self.findings += (replace(each, server=self.name) for each in findings if each is not None)


def shown_address(target: str) -> str:
    """Return HOST:PORT of a target in gRPC's notation, without its scheme."""
    return target.removeprefix("ipv4:").removeprefix("ipv6:").removeprefix("dns:").rpartition("/")[2]


def examine_server(address: ServerAddress, access: DoctorAccess, timeout: float) -> ServerReport:
    """Make all checks of a server; those that need an answer are left out if it gives none.

    Args:
        address: its address.
        access: how to call it.
        timeout: deadline of each call, in seconds.
    """
    report = ServerReport(shown_address(address.target))
    with access.client(address, timeout) as client, access.client(address, timeout, token=False) as anonymous:
        transport = _transport(address, access, timeout)
        try:
            report.add(_reach(client))
        except errors.DejavuClientError as error:
            report.add(_unreachable(error, address, access, timeout, transport), transport)
            return report
        if transport is not None and transport.severity is Severity.FAULT:  # gRPC has authorities of its own
            transport = ok("tls", "trusted by gRPC's own authorities; give --ca FILE to see when it expires")
        has_token, local = access.token is not None, is_local(address.target)
        report.add(transport, examine_access(client, anonymous, has_token=has_token, local=local))
        report.add(_ledger_health(client))  # first: what needs the ledger fails with it
        _read(report, client)
    if report.stats is not None:
        report.add(_version(report.stats), _workers(report.stats), *_files(report.stats))
        report.add(_supervisor(report.stats, report.checkpoint), _calls(report.stats))
        report.add(*(each for each in _ledger(report.stats) if each.check != "ledger" or not report.has_lost_ledger))
        if report.stats.ledger.disk == pb.DISK_STATE_BELOW_RESERVE:
            report.findings = [each for each in report.findings if each.check not in _FOLLOWS_FROM_DISK]
    return report


def _reach(client: DejavuClient) -> Finding:
    """Return the finding about the server's health.

    Raises:
        DejavuClientError: if it does not answer, or is no dejavu-server.
    """
    try:
        client.health()  # connects
    except errors.UnimplementedError:
        return _behind_proxy(client)
    before = time.perf_counter()
    status = client.health()
    took = seconds_text(time.perf_counter() - before)
    if status is not HealthStatus.SERVING:
        wait = "it starts, drains, or has no usable model: see its log"
        return fault("reach", f"answers in {took}, {status.name}", wait, "operations.md#start-and-stop")
    return ok("reach", f"SERVING, answers in {took}")


def _behind_proxy(client: DejavuClient) -> Finding:
    """Return the finding about a server of which a proxy forwards no health checks.

    Raises:
        DejavuClientError: if it does not answer, or is no dejavu-server.
    """
    with contextlib.suppress(errors.PermissionDeniedError, errors.UnauthenticatedError):
        client.get_service_stats()
    return ok("reach", "answers; the proxy before it forwards no health checks")


def _unreachable(
    error: errors.DejavuClientError,
    address: ServerAddress,
    access: DoctorAccess,
    timeout: float,
    transport: Finding | None,
) -> Finding:
    """Return the finding about a server that gave no answer."""
    endpoint = _endpoint(address)
    if access.tls is None and endpoint is not None and speaks_tls(endpoint, timeout):
        return fault("reach", "the server expects TLS", "give --ca FILE, or --tls", "clients.md#access")
    if access.tls is not None and transport is not None:
        mutual = "see the check of tls; if that is ok, the server wants a client's certificate: --cert, --key"
        return fault("reach", error.message, mutual, "clients.md#access")
    start = "start dejavu-server there, or correct --target; then look at the network between"
    message = error.message.replace(address.target, shown_address(address.target))
    return fault("reach", message, start, "runbook.md#dejavudown")


def _transport(address: ServerAddress, access: DoctorAccess, timeout: float) -> Finding | None:
    """Return the finding about TLS; None if there is nothing to say."""
    endpoint = _endpoint(address)
    if access.tls is None:
        if is_local(address.target):
            return None
        encrypt = "start the server with --tls-cert and --tls-key, or put a proxy with TLS before it"
        return warning("tls", "plain text to another machine: others can read it", encrypt, "security.md#set-it-up")
    if endpoint is None:
        return None
    name = Address.parse(address.authority).host if address.authority else endpoint.host
    return examine_certificate(endpoint, name, access.tls, timeout)


def _endpoint(address: ServerAddress) -> Address | None:
    """Return host and port of a server; None if its address has another form."""
    try:
        return Address.parse(shown_address(address.target))
    except ValueError:
        return None


def _read(report: ServerReport, client: DejavuClient) -> None:
    """Make the calls that need the scope read, and add what each of them shows; the check of the token names a lack."""
    before = time.time()
    for name, call in (
        ("stats", client.get_service_stats),
        ("checkpoint", client.get_checkpoint),
        ("models", client.list_models),
        ("games", client.list_games),
        ("cache", client.get_cache_stats),
    ):
        try:
            setattr(report, name, call())
        except errors.DejavuClientError as error:
            if name == "checkpoint" and error.reason == "SIGNING_UNAVAILABLE":
                sign = "give --signing-key a file that the server's user alone can read, or may create"
                report.add(fault("checkpoint", error.message, sign, "runbook.md#dejavucheckpointold"))
            elif not isinstance(
                error, errors.PermissionDeniedError | errors.UnauthenticatedError | errors.UnimplementedError
            ):
                lost = error.reason == "LEDGER_UNAVAILABLE"
                section = "runbook.md#dejavuledgerunavailable" if lost else "runbook.md#dejavuerrors"
                if not (lost and report.has_lost_ledger):
                    report.add(fault(name, error.message, "see the server's log", section))
    after = time.time()
    if report.checkpoint is not None:
        report.add(_clock(report.checkpoint.signed_time.ToNanoseconds() / 1e9, before, after))
    elif report.stats is not None:
        sampled = report.stats.sampled_time.ToNanoseconds() / 1e9
        report.add(_clock(sampled, before - _SAMPLING_SECONDS, after))
    if report.models:
        report.add(_model(report.models[0]))
    if report.cache is not None:
        report.add(_cache(report.cache))


def _clock(server: float, before: float, after: float) -> Finding:
    """Compare a time of the server with the times, of this machine, between which it was read; in seconds."""
    ahead = server - after if server > after else min(0.0, server - before)
    if abs(ahead) < CLOCK_WARNING_SECONDS:
        return ok("clock", "agrees with this machine's within 5 s")
    text = f"the server's is {seconds_text(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} this machine's"
    make = fault if abs(ahead) >= CLOCK_FAULT_SECONDS else warning
    synchronize = "synchronize both machines (timedatectl); times of games, lateness and tokens depend on it"
    return make("clock", text, synchronize, "operations.md#check-an-installation")


def _model(model: Model) -> Finding:
    """Return the finding about the model that answers."""
    if not model.active:
        return fault("model", "no model is active", "promote one: `dejavu models promote`", "training.md#newer-ratings")
    days = pluralize(model.ratings_age_days, "day")
    text = f"{model.version[:12]}, ratings as of {model.ratings_date or 'no date'} ({days})"
    if model.warnings:
        renew = "report finals (dejavu poll), or `dejavu-trainer refresh` and restart"
        reason = "; ".join(each.text for each in model.warnings)
        return warning("model", f"{text}: {reason}", renew, "runbook.md#dejavuratingsoutdated")
    if model.verdict == VERDICT_UNFIT:
        unfit = f"{text}: unfit, as its bundle states: {model.verdict_reason}"
        return warning("model", unfit, "train another, or know what --allow-unfit accepts", "training.md")
    return ok("model", text)


def _cache(stats: GetCacheStatsResponse) -> Finding | None:
    """Return the finding about the cache that servers share; None if there is none."""
    if stats.shared_state == SHARED_CACHE_STATE_FAILED:
        text = "the shared cache fails or is slow: what-ifs are computed without it"
        repair = "see `shared_cache_failed` in the log, and repair Redis; no server needs a restart"
        return warning("cache", text, repair, "runbook.md#dejavusharedcachefailed")
    return ok("cache", "the shared cache is used") if stats.shared_state == SHARED_CACHE_STATE_USED else None


def _ledger_health(client: DejavuClient) -> Finding | None:
    """Return the finding about a ledger that is not served, or of unknown health; None otherwise."""
    try:
        status = client.health(LEDGER)
    except errors.UnimplementedError:  # a proxy forwards no health checks
        return None
    except errors.NotFoundError:
        same = "install the same release"
        return warning("ledger", "the server does not report its health", same, "operations.md#upgrade")
    except errors.DejavuClientError as error:
        return fault("ledger", error.message, "run it again", "runbook.md#dejavuledgerunavailable")
    if status is HealthStatus.SERVING:
        return None
    text = f"{status.name}: named forecasts are refused, perhaps streams and the record too"
    repair = "see `ledger_failing` or `ledger_disk_low` in its log: repair disk or database; no restart is needed"
    return fault("ledger", text, repair, "runbook.md#dejavuledgerunavailable")


def _version(stats: pb.GetServiceStatsResponse) -> Finding:
    own = build.release()
    releases = sorted({each.version for each in stats.server.workers})
    shown = ", ".join(releases) or "not known"
    if len(releases) > 1:
        finish = "finish the upgrade: SIGHUP replaces the workers"
        return warning("version", f"workers of {shown}", finish, "runbook.md#dejavureloadfailed")
    if releases != [own]:
        same = "install the same release on both sides"
        return warning("version", f"server {shown}, this client {own}", same, "clients.md#compatibility")
    libraries = sorted({f"grpcio {each.grpc_version}, Python {each.python_version}" for each in stats.server.workers})
    return ok("version", f"{shown}, as this client ({'; '.join(libraries)})")


def _workers(stats: pb.GetServiceStatsResponse) -> Finding:
    server = stats.server
    ended = [(server.worker_deaths, "died"), (server.worker_hangs, "hung")]
    text = f"{len(server.workers)} of {server.configured_workers} serve, up {seconds_text(server.uptime_seconds)}"
    text += "".join(f"; {number:,} {what} since the start" for number, what in ended if number)
    if len(server.workers) < server.configured_workers:
        see = "see `worker_not_started` in the server's log"
        return warning("workers", text, see, "runbook.md#dejavuworkerscannotstart")
    if server.worker_hangs:
        return warning("workers", text, "see `worker_hung` in the server's log", "runbook.md#dejavuworkerhung")
    if server.worker_deaths:
        return warning("workers", text, "see `worker_died` in the server's log", "runbook.md#dejavuworkerdied")
    return ok("workers", text)


def _supervisor(stats: pb.GetServiceStatsResponse, checkpoint: Checkpoint | None) -> Finding | None:
    """Return the finding about a supervisor that stands still, by the clock of the server if a checkpoint tells it."""
    now = time.time() if checkpoint is None else checkpoint.signed_time.ToNanoseconds() / 1e9
    age = now - stats.sampled_time.ToNanoseconds() / 1e9
    if age <= OLD_STATISTICS_SECONDS:
        return None
    text = f"the supervisor stands still: its statistics are {seconds_text(age)} old, and it replaces no worker"
    look = "see the state of its process: `kill -CONT` if it is stopped (T); otherwise restart the server"
    return fault("supervisor", text, look, "runbook.md#dejavudown")


def _files(stats: pb.GetServiceStatsResponse) -> Iterator[Finding]:
    """Yield the findings about replaced files that the server does not use."""
    if stats.server.last_reload_failed:
        text = "the last SIGHUP did not complete: a worker that dies now may not be replaced"
        restore = "put the old release or bundle back, or repair it, and send SIGHUP again"
        yield fault("reload", text, f"see `reload_failed` in the log; {restore}", "runbook.md#dejavureloadfailed")
    for file in stats.server.outdated_files:
        text = f"the replaced file of {file} cannot be used: the server goes on with its former content"
        repair = "see `access_reload_failed` in the log, and write the file again"
        yield fault("access", text, repair, "runbook.md#dejavuaccessfileoutdated")


def _calls(stats: pb.GetServiceStatsResponse) -> Finding:
    """Return the finding about failed calls: a fault if they fail now, a warning if they did."""
    of_minute = _calls_of(stats, _NOW_SECONDS, "the last minute")
    if of_minute.severity is not Severity.OK:
        return of_minute
    earlier = _calls_of(stats, _WINDOW_SECONDS, "the last 15 min")
    if earlier.severity is Severity.OK:
        return earlier
    return warning("calls", f"{earlier.message}; not in the last minute", earlier.remedy, earlier.section)


def _calls_of(stats: pb.GetServiceStatsResponse, seconds: int, period: str) -> Finding:
    window = next((each for each in stats.windows if each.length_seconds == seconds), None)
    methods: Sequence[Any] = window.methods if window is not None else ()
    calls = sum(each.calls for each in methods)
    codes = Counter[str]()
    for method in methods:
        codes.update(failed_calls(method))
    failed, refused = sum(codes[code] for code in _SERVER_FAULTS), codes["RESOURCE_EXHAUSTED"]
    text = f"{calls:,} in {period}"
    if failed > _MOST_FAULTS * calls:
        shown = ", ".join(f"{code} {number:,}" for code, number in sorted(codes.items()) if code in _SERVER_FAULTS)
        text = f"{text}, {percent(failed / calls)} failed: {shown}"
        return fault("calls", text, "see the log", "runbook.md#dejavuerrors")
    if refused > _MOST_REFUSALS * calls:
        share = f"{text}, {percent(refused / calls)} refused: RESOURCE_EXHAUSTED"
        limits = "`call_refused` in the log and dejavu_calls_refused_total name the limit"
        return warning("calls", share, limits, "runbook.md#dejavuoverloaded")
    return ok("calls", f"{text}, {failed:,} failed by the server's fault, {refused:,} refused for a limit")


def _ledger(stats: pb.GetServiceStatsResponse) -> Iterator[Finding]:
    lag, state = stats.ledger_lag, stats.ledger
    if lag.workers_without:
        text = f"{pluralize(lag.workers_without, 'worker')} cannot record forecasts"
        yield fault("ledger", text, "see `ledger_failing` in the log", "runbook.md#dejavuledgerunavailable")
    elif lag.lag_seconds > CLOCK_WARNING_SECONDS:
        text = f"streams are behind by {lag.entries:,} ({seconds_text(lag.lag_seconds)})"
        yield warning("ledger", text, "see the log", "runbook.md#dejavustreamlag")
    elif lag.outcomes:
        text = f"models have not learned from {pluralize(lag.outcomes, 'outcome')} yet"
        yield warning("ledger", text, "run it again; if it stays, see the log", "runbook.md#dejavulearnerlag")
    else:
        database = enum_word(pb.DatabaseKind.DESCRIPTOR, state.database) or "recorded"
        yield ok("ledger", f"{database}, streams and models are up to date")
    interval_known = state.HasField("checkpoint_interval_seconds")
    if interval_known and state.checkpoint_age_seconds > 2 * state.checkpoint_interval_seconds + 60:
        text = f"entries have not been signed for {seconds_text(state.checkpoint_age_seconds)}"
        yield warning("checkpoint", text, "see `signing_failing` in the log", "runbook.md#dejavucheckpointold")
    if state.disk == pb.DISK_STATE_BELOW_RESERVE:
        refused = "named forecasts are refused, and without any, outcomes and signatures too"
        text = f"free space is below the reserve: {refused}"
        yield fault("disk", text, "make room on the ledger's disk", "runbook.md#dejavudisklow")
    elif state.disk == pb.DISK_STATE_LOW:
        text = "less than twice the reserve is free"
        yield warning("disk", text, "make room on the ledger's disk", "runbook.md#dejavudisklow")
