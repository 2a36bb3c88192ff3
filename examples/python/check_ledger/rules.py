"""The rules of the record, entry by entry: whose a game is, what is late, what a revision is, what is not recorded."""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import timedelta
from typing import Any, NoReturn

from chain import EPOCH, ChangedError, Entries, Entry

# Minutes of play up to a horizon.
MINUTES = {"halftime": 24, "final": 48}

# Seconds of play by which a forecast may be behind the published clock, and that of another caller behind the owner's
# newest.
BEHIND = 90

# Seconds of play by which a market may be behind the newest forecast of its game.
MARKET_BEHIND = 120

# Microseconds after which a forecast comes too late for the newest second of play of its game.
SECOND = 10**6
LATE_AFTER = 600 * SECOND

# Microseconds after its first forecast by which a game is over.
LONGEST_GAME = 12 * 3600 * SECOND

# Live inputs of a request.
LIVE = ("total_points", "last_score", "pregame_total", "neutral_site", "possession")

# A game and a horizon.
Place = tuple[str, str]


def evening(microseconds: int) -> str:
    """Return the date of the games that are played at a time: it ends at 11:00 UTC."""
    return (EPOCH + timedelta(microseconds=microseconds, hours=-11)).date().isoformat()


class Forecast:
    """A recorded forecast.

    Args:
        entry: its entry.

    Attributes:
        request, said: what was asked, and the forecast.
        elapsed: seconds of play since tip-off: at its moment, or at the end of its last minute.
        owned: whether the owner of the game recorded it.
        of_caller: game, horizon, second of play and caller.
        key: what its revisions share: the same, without the caller if it is the owner.
    """

    def __init__(self, entry: Entry) -> None:
        self.entry, self.sequence, self.revision = entry, entry["sequence"], entry["revision"]
        self.request, self.said = entry["payload"]["request"], entry["payload"]["forecast"]
        self.game, self.horizon = self.request["game_id"], self.request["horizon"]
        self.place: Place = (self.game, self.horizon)
        self.minute, self.made = self.said["elapsed_minutes"], self.said["generated_us"]
        self.caller, self.lease, self.clock = entry.get("made_by", ""), entry.get("lease", ""), entry.get("published_s")
        self.late: str = entry.get("late", "")
        self.owned = False
        self.key: tuple[Any, ...] = ()
        self.elapsed = 60.0 * self.minute
        if moment := self.request.get("moment"):
            overtimes = max(moment["period"] - 4, 0)
            self.elapsed = 720 * (moment["period"] - overtimes) + 300 * overtimes - float(moment["seconds_left"])
        self.of_caller = (*self.place, self.elapsed, self.caller)
        self.lead = float(moment["differential"] if moment else self.request["pattern"][-1])
        self.is_replay = str(self.game).startswith("99")

    @property
    def date(self) -> str:
        """The date of its game: as given, or the evening on which it was made."""
        return self.request.get("game_date") or evening(self.made)

    @property
    def day(self) -> str:
        """The date by which lists and scorecards have it."""
        return min(self.date, evening(self.made))

    @property
    def preceded(self) -> list[str]:
        """The horizons after it: the end, or before it the half."""
        return [horizon for horizon, end in MINUTES.items() if self.minute < end]

    def repeats(self, stored: Forecast) -> bool:
        """Return whether it has the input of an earlier revision, and nothing that this one lacks."""
        names = ["alpha", "moment", "home_team", "away_team", "pregame_margin", "pattern"]
        names += ["possession"] if "moment" in self.request else []  # after an unreadable play it is not known
        return (
            self.said["model_version"] == stored.said["model_version"]
            and all(self.request.get(name) == stored.request.get(name) for name in names)
            and self.request.get("game_date", stored.date) == stored.date
            and all(self.request[name] == stored.request.get(name) for name in LIVE if name in self.request)
        )


class Game:
    """What the entries so far say of a game.

    Attributes:
        owner: the caller whose forecasts count; None before the first forecast.
        lease: the lease whose next holder becomes the owner; empty: none yet.
        standing: the newest revision of each outcome that is not withdrawn, by horizon.
        withdrawn: the horizons with an outcome that was withdrawn after the first forecast, and not before the first
            owner with a lease.
        reports: the first report of each outcome; one that was withdrawn before the first forecast is none.
        earlier: those that were withdrawn before the first owner with a lease, with their horizons: others follow.
        passed: sequence of the forecast by which it passed from an owner without a lease to its first lease; 0: none.
    """

    def __init__(self) -> None:
        self.owner: str | None = None
        self.lease = ""
        self.standing: dict[str, Entry] = {}
        self.withdrawn = set[str]()
        self.reports: dict[str, Entry] = {}
        self.earlier: list[tuple[str, Entry]] = []
        self.passed = 0
        self._first = math.inf  # when the first owned forecast was made, since it passed
        # The newest second of play, and when its first forecast was made: of owners (None), and of each caller.
        self._newest: dict[str | None, tuple[float, int]] = {}

    def owns(self, forecast: Forecast) -> bool:
        """Return whether the next forecast is of the owner, or makes its caller the owner."""
        return self.owner in {None, forecast.caller} or forecast.lease != ""

    def passes_to_first_lease(self, forecast: Forecast) -> bool:
        """Return whether it makes its caller the owner in place of one without a lease: what was withdrawn is void."""
        return forecast.owned and not self.lease and self.owner not in {None, forecast.caller}

    def add_forecast(self, forecast: Forecast) -> None:
        """Take note of a forecast."""
        passes = self.passes_to_first_lease(forecast)
        if passes:
            self.earlier += [(each, self.reports.pop(each)) for each in self.withdrawn - self.standing.keys()]
            self.withdrawn.clear()
            self.passed = forecast.sequence
        if forecast.owned:
            self._first = forecast.made if passes else min(self._first, forecast.made)
            self.owner, self.lease = forecast.caller, forecast.lease or self.lease
        if forecast.late == "time":
            return  # or it would make those that follow timely
        for of in (forecast.caller, None) if forecast.owned else (forecast.caller,):
            elapsed, since = self._newest.get(of, (-1.0, 0))
            if (forecast.elapsed, -forecast.made) > (elapsed, -since):
                self._newest[of] = forecast.elapsed, forecast.made

    def add_outcome(self, entry: Entry) -> None:
        """Take note of a revision of an outcome."""
        horizon = entry["payload"]["horizon"]
        if "withdrawn" not in entry["payload"]:
            self.standing[horizon] = entry
            self.reports.setdefault(horizon, entry)
            return
        self.standing.pop(horizon, None)
        if self.owner is None:
            self.reports.pop(horizon, None)
        else:
            self.withdrawn.add(horizon)

    def late(self, forecast: Forecast, made: int, date: str = "", clock: float | None = None, behind: int = 0) -> str:
        """Return why a forecast is late; empty if it is not.

        Args:
            forecast: the forecast.
            made: when it was made; or when its market was sent.
            date: the date given for its game; empty: none.
            clock: the published clock that its entry states, in seconds of play.
            behind: seconds of play by which it may be behind the newest one of its caller.
        """
        if self.withdrawn.intersection(forecast.preceded) and not self.passes_to_first_lease(forecast):
            return "reported"
        first = made if self.passes_to_first_lease(forecast) else self._first
        over = ("" != date < evening(made)) or made - min(first, made) > LONGEST_GAME
        if over and not forecast.is_replay:
            return "game_date"
        at, owned = forecast.elapsed, self._newest.get(None)
        callers = (forecast.caller, None) if forecast.owned else (forecast.caller,)
        own = max(
            (self._newest[of] for of in callers if of in self._newest),
            key=lambda each: (each[0], -each[1]),
            default=None,
        )
        if (own and at < own[0] - behind) or (owned and at < owned[0] - max(behind, BEHIND)):
            return "later_second"
        if clock is not None and at < clock - BEHIND and not forecast.is_replay:
            return "clock"
        known = (own,) if forecast.owned else (own, owned)
        return "time" if any(each and _was_known(*each, at, made) for each in known) else ""

    def hindsight(self, forecast: Forecast, sequence: int, made: float) -> bool:
        """Return whether a report shows that a forecast, or a market of it, was made after an outcome was observed.

        Args:
            forecast: the forecast.
            sequence: sequence of the forecast, or of the market.
            made: when it was made, or sent.
        """
        of = forecast.preceded
        reports = [each for horizon, each in (*self.earlier, *self.reports.items()) if horizon in of]
        return not forecast.is_replay and any(
            each["sequence"] > sequence and each["payload"]["observed_us"] < made for each in reports
        )


def _was_known(newest: float, since: int, at: float, made: int) -> bool:
    """Return whether a second was known for long when a forecast of it, or of a play soon after, was made."""
    soon = newest < at < newest + 60 and _period(at) == _period(newest)
    return (at <= newest or soon) and made - since > LATE_AFTER


def _period(elapsed: float) -> int:
    """Return the period of a time, which includes its end: quarters, then overtimes."""
    return math.ceil(elapsed / 720) if elapsed <= 2880 else 4 + math.ceil((elapsed - 2880) / 300)


class Record:
    """The record that entries make, each of which keeps the rules.

    Args:
        entries: the entries.

    Attributes:
        forecasts: by sequence.
        outcomes: the revisions of each outcome.
        markets: of each forecast, by kind, that of the lead first.
        games: by id.
        shadows, changes: their numbers; changes are of models.
        champion, since: the default model, and the entry since which it is; empty and 0 without one.

    Raises:
        ChangedError: at the first entry that no server records after those before it.
    """

    def __init__(self, entries: Entries) -> None:
        self.forecasts: dict[int, Forecast] = {}
        self.outcomes: defaultdict[Place, list[Entry]] = defaultdict(list)
        self.markets: defaultdict[int, dict[str, Entry]] = defaultdict(dict)
        self.games: defaultdict[str, Game] = defaultdict(Game)
        self.shadows, self.changes, self.champion, self.since = 0, 0, "", 0
        self._change = 0  # the newest change of models
        self._revisions: defaultdict[tuple[Any, ...], list[Forecast]] = defaultdict(list)
        self._of_callers: defaultdict[tuple[Any, ...], list[Forecast]] = defaultdict(list)
        self._entries = entries
        add = {"forecast": self._add_forecast, "outcome": self._add_outcome, "market": self._add_market}
        add |= {"shadow": self._add_shadow, "model": self._add_change}
        for entry in entries.values():
            if (kind := entry["kind"]) in add:  # others are of a later release
                add[kind](entry)

    def _add_forecast(self, entry: Entry) -> None:
        forecast = Forecast(entry)
        _check_minute(forecast)
        game = self.games[forecast.game]
        passes = forecast.lease == game.lease and forecast.caller != game.owner
        if forecast.lease and game.lease and not passes:
            _refuse(entry, f"the lease {forecast.lease!r} makes {forecast.caller!r} no owner of the game")
        forecast.owned = game.owns(forecast)
        forecast.key = forecast.of_caller[:-1] if forecast.owned else forecast.of_caller
        if forecast.clock is not None and not forecast.owned:
            _refuse(entry, "it states a published clock, but is not of the owner of the game")
        self._check_outcomes(entry, forecast)
        late = game.late(forecast, forecast.made, forecast.request.get("game_date", ""), forecast.clock)
        if forecast.late != late:
            _refuse(entry, f"marked as late: {forecast.late or 'not'}; by the entries before it: {late or 'not'}")
        before = self._revisions[forecast.key]
        if forecast.revision != len(before):
            _refuse(entry, f"revision {forecast.revision} after {len(before) - 1 if before else 'none'}")
        in_time = [each for each in before if not each.late]
        takes_over = forecast.lease and game.owner not in {None, forecast.caller}
        known = [each for each in (*before[-1:], *in_time[-1:]) if each.caller == forecast.caller]
        if not takes_over and any(forecast.repeats(each) for each in known):
            _refuse(entry, f"revision {forecast.revision} after one with its input: it changes nothing")
        chosen = forecast.said.get("roster_sequence")
        if chosen is not None and (chosen, forecast.said["model_version"]) != (self._change, self.champion):
            _refuse(entry, f"its model was not chosen by entry {self._change}, since which it is {self.champion!r}")
        before.append(forecast)
        self._of_callers[forecast.of_caller].append(forecast)
        game.add_forecast(forecast)
        self.forecasts[forecast.sequence] = forecast

    def _add_outcome(self, entry: Entry) -> None:
        outcome, revision = entry["payload"], entry["revision"]
        game, horizon = self.games[outcome["game_id"]], outcome["horizon"]
        before = self.outcomes[outcome["game_id"], horizon]
        if revision != len(before):
            _refuse(entry, f"revision {revision} after {len(before) - 1 if before else 'none'}")
        stands = game.standing.get(horizon, {}).get("payload")
        names = ["differential", "home_team", "away_team", "total_points", "players"]
        if outcome.get("withdrawn"):
            if stands is None or any(outcome.get(name) != stands.get(name) for name in names):
                _refuse(entry, f"revision {revision} after another outcome than the one that it withdraws")
        elif stands is not None:
            given = [name for name in names if outcome.get(name) not in (None, "")]
            if all(outcome[name] == stands.get(name) for name in given):
                _refuse(entry, f"revision {revision} after one with its values: it changes nothing")
        before.append(entry)
        game.add_outcome(entry)

    def _add_market(self, entry: Entry) -> None:
        market, forecast = entry["payload"], self._beside(entry, entry["payload"]["forecast_sequence"])
        self._check_outcomes(entry, forecast)
        kind, sequence, at = market["market"]["kind"], entry["sequence"], forecast.sequence
        if kind in self.markets[at]:
            _refuse(entry, f"a second market of entry {at}; only the first one counts")
        # An answer that was not evaluated by the forecast is of a model that had learned from a later outcome.
        known, learned = forecast.said.get("calibration_sequence", 0), market.get("calibration_sequence")
        later = type(learned) is int and known < learned < sequence
        if learned is not None and not (later and self._entries[learned]["kind"] == "outcome"):
            _refuse(entry, f"a market that had learned from entry {learned!r}, its forecast from entry {known}")
        sent = market.get("requested_us")
        between = [self._entries[each]["payload"] for each in range(at + 1, sequence)] if sent is None else []
        if any(each.get("forecast_sequence") != at or "requested_us" in each for each in between):
            _refuse(entry, f"a market sent with entry {at}, but not recorded with it")
        sent = forecast.made if sent is None else sent
        minutes = 10 if forecast.elapsed == 1440 else 1  # nothing is played at the half
        if sent - forecast.made > 60 * SECOND * minutes:
            _refuse(entry, f"a market sent more than {minutes} min after its forecast")
        if late := forecast.late or self.games[forecast.game].late(forecast, sent, behind=MARKET_BEHIND):
            _refuse(entry, f"a market of entry {at}, which was late by then: {late}")
        self.markets[at][kind] = entry
        self.markets[at] = dict(sorted(self.markets[at].items()))

    def _add_shadow(self, entry: Entry) -> None:
        shadow, beside = entry["payload"]["forecast"], self._beside(entry, entry["payload"]["of"])
        if shadow["model_version"] == beside.said["model_version"] or shadow["elapsed_minutes"] != beside.minute:
            _refuse(entry, "a shadow must be of another model and of its forecast's minute")
        self._check_outcomes(entry, beside)
        if self.games[beside.game].withdrawn.intersection(beside.preceded):
            _refuse(entry, "a shadow after an outcome that was withdrawn, with hindsight")
        self.shadows += 1

    def _add_change(self, entry: Entry) -> None:
        change, self._change = entry["payload"], entry["sequence"]
        self.changes += 1
        if change["action"] in {"promote", "rollback"}:
            if change.get("from_version", "") != self.champion:
                _refuse(entry, f"it replaces {change.get('from_version')}, not {self.champion}")
            self.champion, self.since = change["model_version"], entry["sequence"]

    def _beside(self, entry: Entry, sequence: int) -> Forecast:
        """Return the forecast that a market or shadow refers to."""
        if sequence not in self.forecasts:
            _refuse(entry, f"a {entry['kind']} refers to entry {sequence}, which is not an earlier forecast")
        return self.forecasts[sequence]

    def _check_outcomes(self, entry: Entry, forecast: Forecast) -> None:
        """Check that no outcome that a forecast precedes stands."""
        standing = self.games[forecast.game].standing
        for horizon in forecast.preceded:
            if horizon in standing:
                found = f"after the outcome at entry {standing[horizon]['sequence']}"
                _refuse(entry, f"a {entry['kind']} {found}, with hindsight")

    def late(self, forecast: Forecast) -> str:
        """Return why a forecast is late, by entries after it too; empty if it is not."""
        seen = self.games[forecast.game].hindsight(forecast, forecast.sequence, forecast.made)
        return forecast.late or ("observed" if seen else "")

    def sent_late(self, forecast: Forecast, market: Entry) -> bool:
        """Return whether a market was sent after the outcome had been observed."""
        sent = market["payload"].get("requested_us")
        return sent is not None and self.games[forecast.game].hindsight(forecast, market["sequence"], sent)

    def exchanges_sides(self, forecast: Forecast) -> bool:
        """Return whether the home and away teams of a forecast are those of its outcome, exchanged."""
        outcome = self.outcomes[forecast.place][-1]["payload"]
        home, away = outcome.get("home_team", ""), outcome.get("away_team", "")
        of = forecast.request["home_team"], forecast.request["away_team"]
        return "" not in {home, away} and of == (away, home)

    def superseded(self, forecast: Forecast) -> bool:
        """Return whether a later revision in time replaces a forecast."""
        return any(not self.late(each) for each in self._revisions[forecast.key][forecast.revision + 1 :])

    def is_revision_of_caller(self, forecast: Forecast) -> bool:
        """Return whether its caller has forecast its second of play before."""
        return self._of_callers[forecast.of_caller][0] is not forecast

    def superseded_by_caller(self, forecast: Forecast) -> bool:
        """Return whether a later forecast in time of the same caller and moment replaces a forecast."""
        later = (each for each in self._of_callers[forecast.of_caller] if each.sequence > forecast.sequence)
        return any(not self.late(each) for each in later)

    def outcome(self, place: Place) -> Entry | None:
        """Return the outcome of a game and horizon, unless it was withdrawn; None if there is none."""
        return self.games[place[0]].standing.get(place[1])


def _check_minute(forecast: Forecast) -> None:
    """Check that a forecast has the minute of its pattern, and that this is before its horizon.

    Otherwise a forecast of the half as of minute 30 could follow the outcome of the half, which does not forbid it.
    """
    minute, minutes, elapsed = forecast.minute, len(forecast.request["pattern"]), forecast.elapsed
    if type(minute) is not int or not minute == minutes < MINUTES[forecast.horizon]:
        of = f"a forecast of {forecast.horizon} as of minute {minute!r}, with a pattern of {minutes} minutes"
        _refuse(forecast.entry, f"{of}, of game {forecast.game!r}")
    over = forecast.horizon == "halftime" and elapsed >= 60 * MINUTES[forecast.horizon]
    if "moment" in forecast.request and (over or minute != min(int(elapsed // 60), MINUTES["final"] - 1)):
        _refuse(forecast.entry, f"a moment after {elapsed:g} s as of minute {minute}")


def _refuse(entry: Entry, found: str) -> NoReturn:
    """Raise the error of an entry that no server records."""
    raise ChangedError(f"entry {entry['sequence']}: {found}")
