"""Listening to Postgres: a hint that something changed, never the mechanism (a listener may die in silence)."""

import asyncio
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
_AGAIN_S: Final = 0.5

_log = structlog.get_logger(__name__)


async def notifications(conninfo: str, *channels: str, begun: Callable[[], None] | None = None) -> AsyncIterator[str]:
    """Yield the payload of every NOTIFY on any of these channels, for ever.

    A connection that cannot be made, or breaks, is made anew; what is told meanwhile is not heard.

    Args:
        begun: called at each connection, once nothing more can be missed: whoever must know what happened before looks
            now.
    """
    broken = False
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True, **_CONNECT) as connection:
                for channel in channels:
                    await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                if broken:
                    _log.info("listening again", channels=channels)
                broken = False
                if begun is not None:
                    begun()
                async for notice in connection.notifies():
                    yield notice.payload
        except psycopg.Error as error:
            # Told once, not at every try: a database may be away for long.
            if not broken:
                _log.warning("listening broke off", channels=channels, error=type(error).__name__)
            broken = True
        await asyncio.sleep(_AGAIN_S)
