"""Operations of the client: models, cache, state, and programs that work together."""
# ruff: noqa: ASYNC109 - timeout is a deadline sent to the server, not a local one

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from dejavu.ops.v1 import cache_service_pb2 as cache
from dejavu.ops.v1 import feed_service_pb2 as feed_service
from dejavu.ops.v1 import lease_service_pb2 as leases
from dejavu.ops.v1 import notification_service_pb2 as notifications
from dejavu.ops.v1 import operations_service_pb2 as state
from dejavu.v1 import model_service_pb2 as models
from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME, Horizon
from dejavu.v1.game_service_pb2 import Game
from dejavu.v1.model_comparison_pb2 import ModelComparison
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_client import config
from dejavu_client.transport.caller import Transport

ALIASES: Final = frozenset({"champion", "challenger", "previous"})
"""Aliases of versions."""


class Operations(Transport):
    """The methods of AsyncDejavuClient for a server's models, cache and state, and for programs that work together.

    A model is named by its version or by an alias: champion, challenger or previous. Every change of models is safe to
    repeat: if there is nothing to change, the answer has the models as they are, without a `change`. A change by alias
    first resolves the alias to a version, so that a repeated request changes the same model.

    Leases and notifications decide which of several programs does a piece of work, or sends a message.
    """

    async def _version(self, name: str, timeout: float | None) -> str:
        """Return the version that an alias stands for; return any other name unchanged."""
        return (await self.get_model(name, timeout=timeout)).model.version if name in ALIASES else name

    async def list_models(self, *, timeout: float | None = None) -> list[models.Model]:
        """List the models, the active one first: the loaded ones and, with a model store, all registered ones.

        Args:
            timeout: deadline of this call, in seconds; None for the client's.
        """
        pages = self._pages(models.ListModelsRequest(), models.ListModelsResponse, timeout)
        return [model async for page in pages for model in page.models]

    async def get_model(self, model_version: str = "", *, timeout: float | None = None) -> models.GetModelResponse:
        """Return a model, its lineage, and the workers that have it loaded.

        Args:
            model_version: version of the model, or an alias; empty for the champion.
            timeout: deadline of this call, in seconds; None for the client's.

        Raises:
            NotFoundError: if the model is not registered.
        """
        return await self._unary(models.GetModelRequest(model_version=model_version), models.GetModelResponse, timeout)

    async def load_model(
        self, model_version: str, *, reason: str = "", timeout: float | None = config.MODELS_TIMEOUT
    ) -> models.LoadModelResponse:
        """Stage a model: every worker loads it and makes shadow forecasts with it. Registers it if it is new.

        Args:
            model_version: its version. Its bundle must be in the server's model store, where `dejavu-trainer publish`
                puts it.
            reason: why, for people; at most 500 characters.
            timeout: deadline of this call, in seconds; longer by default than for other calls. None for the client's.

        Raises:
            FailedPreconditionError: if its bundle is not in the store, incomplete, altered or unfit, or if a worker
                cannot load the model; nothing is changed then.
        """
        request = models.LoadModelRequest(model_version=model_version, reason=reason)
        return await self._unary(request, models.LoadModelResponse, timeout)

    async def unload_model(
        self, model_version: str, *, reason: str = "", timeout: float | None = config.MODELS_TIMEOUT
    ) -> models.UnloadModelResponse:
        """Unstage a model; its stage becomes none.

        Args:
            model_version: its version, or an alias.
            reason: why, for people; at most 500 characters.
            timeout: deadline of this call, in seconds; longer by default than for other calls. None for the client's.

        Raises:
            FailedPreconditionError: if it answers requests.
        """
        version = await self._version(model_version, timeout)
        request = models.UnloadModelRequest(model_version=version, reason=reason)
        return await self._unary(request, models.UnloadModelResponse, timeout)

    async def promote_model(
        self,
        model_version: str,
        *,
        reason: str = "",
        force: bool = False,
        timeout: float | None = config.MODELS_TIMEOUT,
    ) -> models.PromoteModelResponse:
        """Make a staged model the champion on all workers, from one position of the ledger on.

        Args:
            model_version: its version, or an alias.
            reason: why, for people; at most 500 characters.
            force: whether to promote it without evidence; the ledger records that the change was forced.
            timeout: deadline of this call, in seconds; longer by default than for other calls. None for the client's.

        Raises:
            FailedPreconditionError: if the evidence does not suffice, or the model is not staged.
        """
        version = await self._version(model_version, timeout)
        request = models.PromoteModelRequest(model_version=version, reason=reason, force=force)
        return await self._unary(request, models.PromoteModelResponse, timeout)

    async def rollback_model(
        self, *, from_version: str = "", reason: str = "", timeout: float | None = config.MODELS_TIMEOUT
    ) -> models.RollbackModelResponse:
        """Make the previous model the champion again, and retire the model that had replaced it.

        Args:
            from_version: the champion to be replaced, so that a repeated call does not roll back twice; empty for the
                champion at the time of the call.
            reason: why, for people; at most 500 characters.
            timeout: deadline of this call, in seconds; longer by default than for other calls. None for the client's.

        Raises:
            FailedPreconditionError: if there is no previous model.
        """
        champion = from_version or await self._version("champion", timeout)
        request = models.RollbackModelRequest(from_version=champion, reason=reason)
        return await self._unary(request, models.RollbackModelResponse, timeout)

    async def retire_model(
        self, model_version: str, *, reason: str = "", timeout: float | None = config.MODELS_TIMEOUT
    ) -> models.RetireModelResponse:
        """Retire a model that answers no requests.

        Args:
            model_version: its version, or an alias.
            reason: why, for people; at most 500 characters.
            timeout: deadline of this call, in seconds; longer by default than for other calls. None for the client's.

        Raises:
            FailedPreconditionError: if it answers requests.
        """
        version = await self._version(model_version, timeout)
        request = models.RetireModelRequest(model_version=version, reason=reason)
        return await self._unary(request, models.RetireModelResponse, timeout)

    async def compare_models(
        self,
        model_version: str = "",
        against_version: str = "",
        *,
        horizon: Horizon.ValueType = HORIZON_HALFTIME,
        include_replays: bool = False,
        timeout: float | None = config.SCORES_TIMEOUT,
    ) -> ModelComparison:
        """Compare two models on exactly the same games and minutes.

        Args:
            model_version: version of the model, or an alias; empty for the challenger.
            against_version: the other model: a version, an alias or "persistence"; empty for the champion.
            horizon: `HALFTIME` or `FINAL`; `HALFTIME` by default.
            include_replays: whether to include games of replays and simulated seasons.
            timeout: deadline of this call, in seconds; longer by default than for other calls. None for the client's.
        """
        request = models.CompareModelsRequest(
            model_version=model_version,
            against_version=against_version,
            horizon=horizon,
            include_replays=include_replays,
        )
        response = await self._unary(request, models.CompareModelsResponse, timeout)
        return response.comparison

    async def list_model_changes(
        self,
        *,
        model_version: str = "",
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> models.ListModelChangesResponse:
        """Return a page of the changes of models in the ledger, newest first.

        Args:
            model_version: version of the model, or an alias; empty for all.
            page_size: changes on the page, at most 500; 0 for the server's default, 50.
            page_token: `next_page_token` of the page before; empty for the newest changes.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = models.ListModelChangesRequest(
            model_version=model_version, page_size=page_size, page_token=page_token
        )
        return await self._unary(request, models.ListModelChangesResponse, timeout)

    async def get_cache_stats(self, *, timeout: float | None = None) -> cache.GetCacheStatsResponse:
        """Return the statistics of the server's cache of what-ifs, over all of its workers.

        Args:
            timeout: deadline of this call, in seconds; None for the client's.
        """
        return await self._unary(cache.GetCacheStatsRequest(), cache.GetCacheStatsResponse, timeout)

    async def clear_cache(self, *, timeout: float | None = None) -> cache.ClearCacheResponse:
        """Clear the server's cache of what-ifs in all of its workers, and the one that servers share. Safe to repeat.

        Args:
            timeout: deadline of this call, in seconds; None for the client's.
        """
        return await self._unary(cache.ClearCacheRequest(), cache.ClearCacheResponse, timeout)

    async def warm_cache(
        self, requests: Iterable[PredictRequest], *, timeout: float | None = None
    ) -> cache.WarmCacheResponse:
        """Compute and cache the answers to 1 to 1,000 what-ifs in the answering worker. Safe to repeat.

        Args:
            requests: requests created with `predict_request`, without a `game_id`.
            timeout: deadline of this call, in seconds; None for the client's.

        Raises:
            FailedPreconditionError: if the cache is off.
        """
        return await self._unary(cache.WarmCacheRequest(requests=requests), cache.WarmCacheResponse, timeout)

    async def get_service_stats(self, *, timeout: float | None = None) -> state.GetServiceStatsResponse:
        """Return the server's state, and statistics of the last minutes and since the start, over all of its workers.

        Args:
            timeout: deadline of this call, in seconds; None for the client's.
        """
        return await self._unary(state.GetServiceStatsRequest(), state.GetServiceStatsResponse, timeout)

    async def report_feed(
        self,
        feed: str,
        read_age_seconds: float,
        *,
        data_age_seconds: float | None = None,
        live_games: int = 0,
        timeout: float | None = None,
    ) -> None:
        """Report the age of a feed's data, for `get_service_stats`. Nothing is recorded. Safe to repeat.

        Args:
            feed: name of the feed, e.g. nba: 1 to 32 characters of a to z, 0 to 9 and hyphen.
            read_age_seconds: time since the feed was last read successfully, in seconds.
            data_age_seconds: age of the oldest data of a game in play, in seconds; None without such a game.
            live_games: number of games in play.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = feed_service.ReportFeedRequest(
            feed=feed, read_age_seconds=read_age_seconds, data_age_seconds=data_age_seconds, live_games=live_games
        )
        await self._unary(request, feed_service.ReportFeedResponse, timeout)

    async def publish_games(self, games: Iterable[Game], *, timeout: float | None = None) -> None:
        """Publish the states of games to all subscribers; they are kept for a day and are no part of the record.

        Args:
            games: the states, 1 to 100, each of another game.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        await self._unary(feed_service.PublishGamesRequest(games=games), feed_service.PublishGamesResponse, timeout)

    async def acquire_lease(
        self, name: str, holder: str, ttl: float, *, timeout: float | None = None
    ) -> leases.AcquireLeaseResponse:
        """Acquire or renew a lease. Returns whether the holder has it, and the current lease.

        Args:
            name: name of the lease.
            holder: name of the requesting process; each process needs a name of its own.
            ttl: seconds for which the lease is granted, 1 to 300; count them from the time before this call.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = leases.AcquireLeaseRequest(name=name, holder=holder, ttl_seconds=ttl)
        return await self._unary(request, leases.AcquireLeaseResponse, timeout)

    async def release_lease(self, name: str, holder: str, *, timeout: float | None = None) -> bool:
        """Release a lease; return whether `holder` had it until now.

        Args:
            name: name of the lease.
            holder: name of the process that holds it.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = leases.ReleaseLeaseRequest(name=name, holder=holder)
        response = await self._unary(request, leases.ReleaseLeaseResponse, timeout)
        return response.released

    async def get_lease(self, name: str, *, timeout: float | None = None) -> leases.Lease | None:
        """Return the lease of a name; None if nobody holds it.

        Args:
            name: name of the lease.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        response = await self._unary(leases.GetLeaseRequest(name=name), leases.GetLeaseResponse, timeout)
        return response.lease if response.HasField("lease") else None

    async def claim_notification(
        self, notification: notifications.Notification, sender: str, ttl: float, *, timeout: float | None = None
    ) -> notifications.ClaimNotificationResponse:
        """Claim a notification before sending it. Returns whether the sender has it, and the notification.

        Args:
            notification: id, target, rule, game_id and text.
            sender: name of the requesting process; each process needs a name of its own.
            ttl: seconds for which the claim is granted, 1 to 300; count them from the time before this call.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = notifications.ClaimNotificationRequest(notification=notification, sender=sender, ttl_seconds=ttl)
        return await self._unary(request, notifications.ClaimNotificationResponse, timeout)

    async def confirm_notification(
        self,
        id: str,  # noqa: A002 - the contract's name
        target: str,
        sender: str,
        status: notifications.NotificationStatus.ValueType,
        *,
        failure: str = "",
        retry_delay: float | None = None,
        timeout: float | None = None,
    ) -> bool:
        """Confirm how an attempt to send a notification ended; return whether it was noted.

        Args:
            id: id of the notification.
            target: name of its target.
            sender: name of the process that sent it.
            status: NOTIFICATION_STATUS_SENT, NOTIFICATION_STATUS_FAILED or, before another attempt,
                NOTIFICATION_STATUS_WAITING.
            failure: why the attempt failed.
            retry_delay: seconds until the notification can be claimed again, at most 300; None: at once.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = notifications.ConfirmNotificationRequest(
            id=id, target=target, sender=sender, status=status, failure=failure, retry_delay_seconds=retry_delay
        )
        response = await self._unary(request, notifications.ConfirmNotificationResponse, timeout)
        return response.confirmed

    async def list_notifications(
        self, *, limit: int = 100, timeout: float | None = None
    ) -> list[notifications.Notification]:
        """Return the notifications of the last three days, newest first.

        Args:
            limit: maximum number, at least 1.
            timeout: deadline of each call, in seconds; None for the client's.
        """
        found = list[notifications.Notification]()
        request = notifications.ListNotificationsRequest(page_size=limit)
        async for page in self._pages(request, notifications.ListNotificationsResponse, timeout):
            found += page.notifications
            if len(found) >= limit:
                break
        return found[:limit]
