"""The covers application: square pictures. Image models paint those of several requests in one batch."""

from typing import Final

from ray import serve

from serving.deployments.arguments import EngineArgs
from serving.deployments.host import Answer, Order
from serving.deployments.replica import Replica

BATCH: Final = 4
WAIT_S: Final = 0.05


class CoverReplica(Replica):
    """Gathers what arrives within 50 ms. ``max_ongoing_requests`` must be above `BATCH`, or no batch fills (ray#43288).

    One request may fail alone: errors are answered as values, since an exception would fail its whole batch, and no
    ``batch_size_fn`` is used, since an exception in it would end batching for good (ray#66140).
    """

    def __init__(self, args: EngineArgs) -> None:
        super().__init__(args)
        if args.engine and self._first.makes_many:
            self._first.together = self._in_batch

    async def _in_batch(self, order: Order) -> Answer:
        answer: Answer = await self._batch(order)
        return answer

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=WAIT_S)
    async def _batch(self, orders: list[Order]) -> list[Answer]:
        try:
            return await self._first.make_together(orders)
        except Exception as error:  # noqa: BLE001 - answered to each of them
            return [error] * len(orders)


Covers: Final = serve.deployment(CoverReplica, name="Covers")
"""Scaled by its entry in ``configs/serve/*.yaml``."""
