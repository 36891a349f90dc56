"""The billing loop, in the worker: handles what lies in the inbox, and compares the books with Stripe by the hour.

Stripe or the database away only delays it. Several workers may run it side by side: a Notice belongs to whoever
claimed it, and comparing heals the same thing once.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, TypeVar

import structlog

from billing import handlers, reconcile
from billing.handlers import Desk, Handled
from billing.payments import Payments, open_payments
from billing.reconcile import Difference
from billing.stripe_door import StripeUnreachable
from configs.addresses import database_url
from configs.logs import stack_of
from configs.secrets import Secrets
from configs.settings import Settings
from data.database import Database, DatabaseUnreachable
from data.listen import notifications
from data.repositories import notices
from serving.queue import Chore
from studio.errors import MelodeonError
from studio.words.notice import Notice

POLL_S: Final = 5.0
SIDE_BY_SIDE: Final = 4
"""Notices handled at once by one worker: most of the time goes into waiting for Stripe."""

CUSTOMERS_EVERY_S: Final = 30.0
KEPT: Final = timedelta(days=90)
"""How long a handled Notice is remembered; Stripe sends nothing again that is older than 30 days."""

RECONCILE_CRON: Final = "23 * * * *"

Done = TypeVar("Done")

_log = structlog.get_logger(__name__)


class BillingLoop:
    """Handles Notices as they come, until cancelled.

    Args:
        database: by the login of payments.
        payments: the door to Stripe and what it sells.
        now: the clock.
        poll_s: how often to look although nothing was announced.
    """

    def __init__(
        self,
        database: Database,
        payments: Payments,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        poll_s: float = POLL_S,
    ) -> None:
        self._database = database
        self._payments = payments
        self._now = now
        self._poll_s = poll_s
        self._news = asyncio.Event()
        self._threads = ThreadPoolExecutor(SIDE_BY_SIDE + 2, "billing")

    async def run(self) -> None:
        """Listen, handle, make customers of new accounts. When cancelled, what is in hand is brought to its end."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen())
                tasks.create_task(self._handle_for_ever())
                tasks.create_task(self._make_customers_for_ever())
        finally:
            await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    async def reconcile(self) -> None:
        """One comparison with Stripe, by the clock."""
        try:
            left = await self._aside(self._reconcile)
        except (StripeUnreachable, DatabaseUnreachable) as error:
            _log.warning("reconciliation put off", why=error.sentence)
            return
        for difference in left:
            told = {"kind": str(difference.kind), "subject": difference.subject, "sentence": difference.sentence}
            _log.error("the books and Stripe differ", **told)

    def _reconcile(self) -> tuple[Difference, ...]:
        with self._database.transaction() as session:
            notices.forget_handled(session, before=self._now() - KEPT)
        return reconcile.heal(self._desk())

    def _desk(self) -> Desk:
        return Desk(database=self._database, door=self._payments.door, now=self._now())

    async def _listen(self) -> None:
        """NOTIFY only makes it quicker: the loop looks by itself too."""
        async for _ in notifications(self._database.conninfo, notices.CHANNEL):
            self._news.set()

    async def _handle_for_ever(self) -> None:
        while True:
            self._news.clear()
            try:
                while await self._handle_some():
                    pass
            except DatabaseUnreachable:
                _log.warning("the inbox waits: the database does not answer")
            except Exception as error:  # noqa: BLE001 - what people paid for hangs on this loop: nothing may end it
                _log.error("billing loop failed", error=type(error).__name__, stack=stack_of(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s * random.uniform(0.8, 1.2)):  # noqa: S311 - spreads workers
                    await self._news.wait()

    async def _handle_some(self) -> bool:
        """Handle what is due, a few at a time; answers whether to go on at once."""
        desk = self._desk()
        claimed = await self._aside(lambda: handlers.claim(desk, most=SIDE_BY_SIDE))
        outcomes = await asyncio.gather(*(self._aside(partial(self._attempt, notice)) for notice in claimed))
        return bool(claimed) and Handled.UNREACHABLE not in outcomes

    async def _aside(self, work: Callable[[], Done]) -> Done:
        """Wait for ``work`` in a thread of the loop's own."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _attempt(self, notice: Notice) -> Handled:
        return handlers.attempt(self._desk(), notice)

    async def _make_customers_for_ever(self) -> None:
        while True:
            try:
                made = await self._aside(self._payments.make_customers)
                if made:
                    _log.info("customers made", number=made)
            except MelodeonError as error:
                _log.warning("no customers made", why=error.sentence)
            except Exception as error:  # noqa: BLE001 - the same
                _log.error("making customers failed", error=type(error).__name__, stack=stack_of(error))
            await asyncio.sleep(CUSTOMERS_EVERY_S)


@asynccontextmanager
async def payments_handled(settings: Settings, secrets: Secrets) -> AsyncIterator[dict[str, tuple[str, Chore]]]:
    """Run the loop while the block runs, if payments are on; yields the chores that come with it."""
    database = Database(
        database_url(settings, secrets, role="billing"),
        pool_size=2 * SIDE_BY_SIDE,
        statement_timeout_s=settings.database.statement_timeout_s,
        application_name="melodeon billing",
    )
    payments = open_payments(settings.stripe, database)
    if payments is None:
        yield {}
        return
    loop = BillingLoop(database, payments)
    task = asyncio.create_task(loop.run())
    try:
        yield {"reconcile": (RECONCILE_CRON, loop.reconcile)}
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        database.dispose()
