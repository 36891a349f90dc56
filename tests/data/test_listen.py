"""Listening outlives its connection."""

import asyncio
from contextlib import aclosing

import pytest
from sqlalchemy import text

from data.database import Database
from data.embedded_postgres import free_port
from data.listen import notifications

CHANNEL = "tests_listen"


def do(database: Database, sql: str) -> None:
    with database.transaction() as session:
        session.execute(text(sql))


def cut(database: Database) -> None:
    do(
        database,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' "
        "AND datname = current_database()",
    )


def test_a_connection_that_breaks_is_made_anew_and_what_is_told_then_is_heard(database: Database) -> None:
    begun: list[str] = []

    def on_begin() -> None:
        begun.append("again" if begun else "first")
        if begun == ["first"]:
            do(database, f"SELECT pg_notify('{CHANNEL}', 'one')")
        else:
            do(database, f"SELECT pg_notify('{CHANNEL}', 'two')")

    async def listen() -> list[str]:
        heard: list[str] = []
        async with asyncio.timeout(120), aclosing(notifications(database.conninfo, CHANNEL, begun=on_begin)) as news:
            async for payload in news:
                heard.append(payload)
                if payload == "two":
                    return heard
                await asyncio.to_thread(cut, database)
        return heard

    assert asyncio.run(listen()) == ["one", "two"]
    assert begun == ["first", "again"]


def test_a_database_that_is_away_is_told_once(capsys, caplog) -> None:
    conninfo = f"postgresql://nobody@127.0.0.1:{free_port()}/none"

    async def listen() -> None:
        async with asyncio.timeout(3), aclosing(notifications(conninfo, CHANNEL)) as news:
            async for _ in news:
                pass

    with pytest.raises(TimeoutError):
        asyncio.run(listen())
    said = "".join(capsys.readouterr()) + caplog.text
    assert said.count("listening broke off") == 1
