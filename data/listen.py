"""Listening to Postgres: a hint that something changed, never the mechanism (a listener may die in silence)."""

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import psycopg
import structlog
from psycopg import sql

ACCOUNT_CHANGED: Final = "melodeon_account"
"""NOTIFY channel of what changes about an account beside its Jobs: who may act for it, what it has. The payload is its
id; triggers tell, see ``data/migrations/sql/news_0007.sql``."""

# A network that loses the connection without a word is noticed within a minute, not after the system's two hours.
_CONNECT: Final[dict[str, Any]] = {
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}

_log = structlog.get_logger(__name__)


async def notifications(conninfo: str, *channels: str, begun: Callable[[], None] | None = None) -> AsyncIterator[str]:
    """Yield the payload of every NOTIFY on any of these channels.

    Ends when the connection cannot be made or breaks; the caller connects again.

    Args:
        begun: called once nothing more can be missed: whoever must know what happened before looks now.
    """
    try:
        async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True, **_CONNECT) as connection:
            for channel in channels:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            if begun is not None:
                begun()
            async for notice in connection.notifies():
                yield notice.payload
    except psycopg.Error as error:
        _log.warning("listening broke off", channels=channels, error=type(error).__name__)
