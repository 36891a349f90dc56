"""What the doors need, made once by the entry point and handed to the application."""

import secrets as random_secrets
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from starlette.requests import Request

from billing.payments import Payments, open_payments
from configs.addresses import Login, database_url, gateway_url
from configs.secrets import Secrets
from configs.settings import Settings
from data.database import Database, Session
from data.object_store import ObjectStore, open_store
from data.sealed import SealedBox
from serving import jobs
from serving.client import GatewayClient
from serving.limits import Limit, count
from studio.units import SEED_MAX
from studio.words.account import Account
from studio.words.brief import Brief
from studio.words.ids import JobId
from studio.words.job import Job

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The product's services of one process. Without ``payments`` nothing is for sale, and everything else works."""

    settings: Settings
    secrets: Secrets
    database: Database
    store: ObjectStore
    gateway: GatewayClient
    payments: Payments | None = None

    @property
    def box(self) -> SealedBox:
        """Opens the secrets of second factors."""
        return SealedBox(self.secrets.seal_key)

    @staticmethod
    def now() -> datetime:
        """The application's clock."""
        return datetime.now(UTC)

    @staticmethod
    def draw_seed() -> int:
        """A fresh seed for a request that names none."""
        return random_secrets.randbelow(SEED_MAX + 1)

    @staticmethod
    def draw_key() -> str:
        """A fresh idempotency key for a request that brings none."""
        return random_secrets.token_urlsafe(18)

    def ask(self, account: Account, brief: Brief, *, key: str, trace_id: str = "") -> Job:
        """`jobs.request` as this installation is set up, in a transaction of its own. Every door and page asks here.

        Args:
            account: who asks and pays.
            brief: what is asked for.
            key: idempotency key of this account.
            trace_id: of the caller's own tracing (W3C, 32 hexadecimal digits); drawn when empty. It stands on every
                log line from here to the replica.
        """
        trace_id = trace_id or random_secrets.token_hex(16)
        with self.database.transaction() as session:
            self._count(session, account)
            job = jobs.request(
                session,
                account,
                brief,
                key=key,
                now=self.now(),
                draw_seed=self.draw_seed,
                queued_max=self.settings.queued_songs_max,
                trace_id=trace_id,
            )
        log.info("song asked for", job_id=job.id, account_id=account.id, state=str(job.state), trace_id=trace_id)
        return job

    def ask_again(self, account: Account, job_id: JobId) -> Job:
        """`jobs.run_again` as this installation is set up, in a transaction of its own."""
        with self.database.transaction() as session:
            self._count(session, account)
            return jobs.run_again(session, account, job_id, now=self.now(), queued_max=self.settings.queued_songs_max)

    def _count(self, session: Session, account: Account) -> None:
        """Raise `TooManyRequests` when the account asks for songs too often."""
        count(session, Limit(name="song", most=self.settings.limits.songs_per_minute, per_s=60), account.id)


def open_services(settings: Settings, secrets: Secrets, *, role: Login = "app") -> Services:
    """Open the services of this process. Connections are made when first used, by the login of ``role``."""
    database = Database(
        database_url(settings, secrets, role=role),
        pool_size=settings.database.pool_size,
        statement_timeout_s=settings.database.statement_timeout_s,
    )
    return Services(
        settings=settings,
        secrets=secrets,
        database=database,
        store=open_store(settings.store, var=settings.var, link_key=secrets.link_key),
        gateway=GatewayClient(gateway_url(settings), secrets.gateway_key, settings.serve.client_timeout_s),
        payments=open_payments(settings.stripe, database),
    )


async def services_of(request: Request) -> Services:
    """The services of the application that got this request (a FastAPI dependency)."""
    services: Services = request.app.state.services
    return services
