"""What the doors need, made once by the entry point and handed to the application."""

import secrets as random_secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import Request

from configs.addresses import database_url, gateway_url
from configs.secrets import Secrets
from configs.settings import Settings
from data.database import Database
from data.object_store import ObjectStore, open_store
from serving.client import GatewayClient
from studio.units import SEED_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The product's services of one process."""

    settings: Settings
    secrets: Secrets
    database: Database
    store: ObjectStore
    gateway: GatewayClient

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


def open_services(settings: Settings, secrets: Secrets) -> Services:
    """Open the services of this process. Connections are made when first used."""
    return Services(
        settings=settings,
        secrets=secrets,
        database=Database(
            database_url(settings, secrets),
            pool_size=settings.database.pool_size,
            statement_timeout_s=settings.database.statement_timeout_s,
        ),
        store=open_store(settings.store, var=settings.var, link_key=secrets.link_key),
        gateway=GatewayClient(gateway_url(settings), secrets.gateway_key, settings.serve.client_timeout_s),
    )


async def services_of(request: Request) -> Services:
    """The services of the application that got this request (a FastAPI dependency)."""
    services: Services = request.app.state.services
    return services
