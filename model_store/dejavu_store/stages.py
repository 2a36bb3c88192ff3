"""Stages of models, and the changes between them.

The roster is a pure fold over the model changes in a ledger: all readers at the same position have the same one.

    none ──load──▶ staged ──promote──▶ serving ──promote another──▶ staged (previous) ──promote another──▶ retired
      ◀──unload──┘    └─────retire─────▶ retired ◀──rollback───┘

A promotion keeps the model that served until then as `previous`: it stays loaded, makes shadow forecasts like a
challenger, and serves again after a rollback. A retired model can be loaded again. The first promotion of a season
keeps the model that served until then as the season's `anchor`, too: it makes shadow forecasts until the next season,
so that no chain of promotions falls behind it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from dejavu_models.comparison import GateFigures
from dejavu_models.errors import DejavuError, FieldError, InvalidInput, quoted

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
PREVIOUS: Final = "previous"
ALIASES: Final = (CHAMPION, CHALLENGER, PREVIOUS)
"""Names that a request can use instead of a version: for the model that serves, for the newest challenger, and for the
model that served before."""

MAX_CHALLENGERS: Final = 4
"""Maximum number of staged models: each takes memory in every worker, and computing time for every recorded
forecast."""

_FIRST_MONTH: Final = 8
"""Month in which the season of a promotion begins: none is played before, since the last one."""

MAX_REASON: Final = 500
"""Maximum number of characters of the reason for a change."""


class ModelStage(enum.Enum):
    """Stage of a model in its life."""

    NONE = "none"
    """Registered: in the store, but not loaded."""

    STAGED = "staged"
    """Loaded by every worker, and makes every recorded forecast in the shadow."""

    SERVING = "serving"
    """Answers requests that name no model."""

    RETIRED = "retired"
    """No longer considered."""


class ModelAction(enum.Enum):
    """Kind of a change."""

    REGISTER = "register"
    LOAD = "load"
    UNLOAD = "unload"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    RETIRE = "retire"


@dataclass(frozen=True, slots=True)
class ModelEvidence(GateFigures):
    """Evidence of a promotion: figures of the gate, and the version of the model it was compared with."""

    against_version: str


@dataclass(frozen=True, slots=True)
class ModelChange:
    """One change of models: an entry of the ledger.

    Attributes:
        action: kind of the change.
        model_version: version of the model.
        from_version: the champion until then, for PROMOTE and ROLLBACK; empty if there was none.
        reason: human-readable reason; empty if none was given.
        forced: whether the change was made although the gate would have refused it.
        evidence: evidence of the gate for a promotion; None if nothing was measured.
        changed_time: when; aware, UTC, whole microseconds.
        changed_by: identity of the caller; empty if it is not known.
        sequence: sequence number in the ledger; 0 if not recorded yet.
    """

    action: ModelAction
    model_version: str
    changed_time: datetime
    from_version: str = ""
    reason: str = ""
    forced: bool = False
    evidence: ModelEvidence | None = None
    changed_by: str = ""
    sequence: int = 0


class NotRegistered(FieldError, reason="MODEL_NOT_REGISTERED", field="model_version", category="NOT_FOUND"):
    """The store has no model of a version, or no model has the alias."""


class ModelInUse(DejavuError, reason="MODEL_IN_USE", category="FAILED_PRECONDITION"):
    """A model cannot be unloaded or retired, since it answers requests."""


class WrongStage(DejavuError, reason="WRONG_MODEL_STAGE", category="FAILED_PRECONDITION"):
    """A change does not fit the stage of its model."""


class TooManyChallengers(DejavuError, reason="TOO_MANY_CHALLENGERS", category="FAILED_PRECONDITION"):
    """The maximum number of staged models is reached."""


class InvalidReason(InvalidInput, reason="INVALID_REASON", field="reason"):
    """The reason for a change is too long, or has a character that cannot be stored."""


_UNLOADED: Final = (ModelStage.NONE, ModelStage.RETIRED)

_POSSIBLE: Final = {
    ModelAction.LOAD: tuple(ModelStage),
    ModelAction.UNLOAD: (ModelStage.STAGED, ModelStage.NONE),
    ModelAction.RETIRE: (ModelStage.STAGED, ModelStage.NONE, ModelStage.RETIRED),
    ModelAction.PROMOTE: (ModelStage.STAGED, ModelStage.SERVING),
    ModelAction.ROLLBACK: (ModelStage.STAGED,),
}
"""Stages of its model in which a change is possible."""


@dataclass(frozen=True, slots=True)
class Roster:
    """The models of a ledger and which of them answers, after some of its changes.

    Attributes:
        stages: stage by version; the staged models are in the order in which they were staged.
        champion: version of the model that serves; empty if there is none yet.
        previous: version of the model that served before, which a rollback returns to; empty if there is none.
        anchor: version of the model that served before the first promotion of the season; empty if there is none.
        anchor_season: that season, as the year in which it ends.
        sequence: sequence number of the last change; 0 without any.
    """

    stages: Mapping[str, ModelStage] = field(default_factory=lambda: MappingProxyType({}))
    champion: str = ""
    previous: str = ""
    anchor: str = ""
    anchor_season: int = 0
    sequence: int = 0

    @property
    def challengers(self) -> tuple[str, ...]:
        """Versions of the staged models, `previous` and `anchor` included, in the order in which they were staged."""
        return tuple(version for version, stage in self.stages.items() if stage is ModelStage.STAGED)

    @property
    def candidates(self) -> tuple[str, ...]:
        """Versions of the challengers that may become the champion: those that did not serve before."""
        return tuple(version for version in self.challengers if version not in {self.previous, self.anchor})

    @property
    def loaded(self) -> tuple[str, ...]:
        """Versions that every worker has loaded: the champion first, then the challengers."""
        return (*([self.champion] if self.champion else []), *self.challengers)

    def version_of(self, name: str) -> str:
        """Return the version that an alias stands for; a name that is no alias is a version.

        Raises:
            NotRegistered: if no model has the alias.
        """
        if name not in ALIASES:
            return name
        newest = next(reversed(self.candidates), "")
        version = {CHAMPION: self.champion, PREVIOUS: self.previous, CHALLENGER: newest}[name]
        if not version:
            raise NotRegistered(quoted(name), "an alias in use: no model has it at present")
        return version

    def stage_of(self, version: str) -> ModelStage:
        """Return the stage of a model.

        Raises:
            NotRegistered: if there is no such model.
        """
        try:
            return self.stages[version]
        except KeyError:
            raise NotRegistered(quoted(version), "the version of a registered model") from None

    def changes_nothing(self, change: ModelChange) -> bool:
        """Return whether a possible change would leave the roster as it is, and so need not be recorded."""
        try:
            return replace(self.after(change), sequence=self.sequence) == self
        except DejavuError:
            return False

    def check(self, change: ModelChange) -> None:
        """Check that a change is possible.

        Raises:
            NotRegistered: if its model is not registered.
            ModelInUse: if it would take away a model that answers requests.
            WrongStage: if the stage of its model does not allow it; for a rollback, if its model is not `previous`.
            TooManyChallengers: if it would stage more than MAX_CHALLENGERS models, `previous` and `anchor` not
                counted.
            InvalidReason: if its reason is too long or contains NUL.
        """
        version, action = change.model_version, change.action
        if len(change.reason) > MAX_REASON:
            raise InvalidReason(f"a text of {len(change.reason)} characters", f"at most {MAX_REASON} characters")
        if "\0" in change.reason:
            raise InvalidReason("a text with NUL", "a text without NUL")
        if action is ModelAction.REGISTER:
            if not version or version in ALIASES:
                raise NotRegistered(quoted(version), "the version of a bundle, not an alias")
            return
        if action is ModelAction.ROLLBACK and (not self.previous or version != self.previous):
            raise WrongStage("there is no previous model to return to; expected a promotion before")
        stage = self.stage_of(version)
        if action in {ModelAction.UNLOAD, ModelAction.RETIRE} and version == self.champion:
            raise ModelInUse(f"model {version} answers requests; expected one that does not")
        is_first = action is ModelAction.PROMOTE and not self.champion
        if not is_first and stage not in _POSSIBLE[action]:
            expected = " or ".join(each.value for each in _POSSIBLE[action])
            raise WrongStage(f"model {version} is in stage {stage.value}; expected {expected}")
        if action is ModelAction.LOAD and stage in _UNLOADED and len(self.candidates) >= MAX_CHALLENGERS:
            limit = f"{len(self.candidates)} models are staged, which is the limit"
            raise TooManyChallengers(f"{limit}: retire or unload one")

    def after(self, change: ModelChange) -> Roster:
        """Return the roster after a recorded change.

        Raises:
            DejavuError: if it is not possible; see `check`.
        """
        self.check(change)
        stages, version = dict(self.stages), change.model_version
        roster = replace(self, sequence=change.sequence)
        match change.action:
            case ModelAction.REGISTER:
                stages.setdefault(version, ModelStage.NONE)
            case ModelAction.LOAD if stages[version] in _UNLOADED:
                _stage(stages, version)
            case ModelAction.UNLOAD | ModelAction.RETIRE:
                stages[version] = ModelStage.NONE if change.action is ModelAction.UNLOAD else ModelStage.RETIRED
                previous, anchor = ("" if each == version else each for each in (self.previous, self.anchor))
                roster = replace(roster, previous=previous, anchor=anchor)
            case ModelAction.PROMOTE if version != self.champion:
                roster = replace(roster, **self._anchored(change.changed_time))
                for former in {self.previous, self.anchor} - {"", version, self.champion, roster.anchor}:
                    stages[former] = ModelStage.RETIRED
                if self.champion:
                    _stage(stages, self.champion)
                stages[version] = ModelStage.SERVING
                roster = replace(roster, champion=version, previous=self.champion)
            case ModelAction.ROLLBACK:
                stages[self.champion] = ModelStage.RETIRED
                stages[version] = ModelStage.SERVING
                roster = replace(roster, champion=version, previous="")
        return replace(roster, stages=MappingProxyType(stages))

    def _anchored(self, promoted: datetime) -> dict[str, Any]:
        """Return the anchor after a promotion, and its season."""
        season = promoted.year + (promoted.month >= _FIRST_MONTH)
        if season == self.anchor_season and self.anchor:
            return {}
        return {"anchor": self.champion, "anchor_season": season}


def _stage(stages: dict[str, ModelStage], version: str) -> None:
    """Stage a model, as the newest one of those staged."""
    del stages[version]
    stages[version] = ModelStage.STAGED
