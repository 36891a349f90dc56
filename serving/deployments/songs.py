"""The songs application: whole songs, two takes a call. Calls for an adapter go to a replica that holds it."""

import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, Protocol, cast, runtime_checkable

import structlog
from ray import serve

from serving.deployments.replica import Replica

log = structlog.get_logger(__name__)

ADAPTERS: Final = 3


@runtime_checkable
class _TakesAdapters(Protocol):
    def adapters(self) -> tuple[str, ...]: ...
    def unload_adapter(self, name: str) -> None: ...


class HeldAdapter:
    """Serve's note that this replica holds an adapter. The engine loads it itself when a call wants it."""

    def __init__(self, engine: _TakesAdapters, name: str) -> None:
        self._leave = threading.Thread(target=_leave, args=(engine, name), daemon=True)
        log.info("adapter.held", adapter=name)

    def __del__(self) -> None:
        """Called by Serve when another takes the place, and by Python. Never waits: the engine may be at work."""
        if self._leave.ident is None:
            self._leave.start()


def _leave(engine: _TakesAdapters, name: str) -> None:
    engine.unload_adapter(name)
    log.info("adapter.left", adapter=name)


class SongReplica(Replica):
    """Holds up to `ADAPTERS` LoRA adapters beside its engine. A name it does not know takes no place."""

    async def make(self, request: bytes) -> AsyncGenerator[bytes, None]:
        """Answer a `MakeRequest` in JSON with event lines."""
        adapter, engine = serve.get_multiplexed_model_id(), self._first.engine
        if adapter and isinstance(engine, _TakesAdapters) and adapter in engine.adapters():
            await self._adapter(adapter)
        async with aclosing(super().make(request)) as lines:
            async for line in lines:
                yield line

    @serve.multiplexed(max_num_models_per_replica=ADAPTERS)
    async def _adapter(self, name: str) -> HeldAdapter:
        return HeldAdapter(cast(_TakesAdapters, self._first.engine), name)


Songs: Final = serve.deployment(SongReplica, name="Songs")
"""Scaled by its entry in ``configs/serve/*.yaml``."""
