"""What the tests of the doors ask for: the real application under a real server, people who are signed in, songs."""

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from data.database import Database
from data.folder_store import FolderStore
from data.repositories import sessions
from data.repositories import songs as song_rows
from data.repositories.job_songs import MadeTake
from data.repositories.jobs import Claimed
from serving import attempts
from serving.api.app import lifespan, make_app
from serving.api.identity import cookie_name
from serving.api.services import Services
from serving.api.views import PREFIX
from studio.words.account import Account
from studio.words.asset import AssetRole
from studio.words.brief import Brief
from studio.words.song import Song

CONTENTS = {
    AssetRole.WAV: (b"RIFF the wave of a song", "audio/wav"),
    AssetRole.STREAM: (b"0123456789abcdefghij", "audio/mpeg"),
    AssetRole.PEAKS: (b"[0, 1]", "application/json"),
    AssetRole.COVER: (b"png", "image/png"),
    AssetRole.COVER_512: (b"webp 512", "image/webp"),
    AssetRole.COVER_128: (b"webp 128", "image/webp"),
}
"""What every song of these tests is made of, by role: bytes and media type."""

SignedIn = Callable[[Account | None], httpx.Client]
MakeSong = Callable[..., Song]


@pytest.fixture
def serve() -> Iterator[Callable[[Services], str]]:
    """Starts the doors under ``/api/v1`` for these services, answers the address; stopped after the test."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(services: Services) -> str:
        doors = make_app(services)
        app = Starlette(routes=[Mount(PREFIX, doors)], lifespan=lambda _: lifespan(doors))
        listener = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        running.append((server, thread))
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        return f"http://127.0.0.1:{listener.getsockname()[1]}{PREFIX}"

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join()


@pytest.fixture
def address(serve: Callable[[Services], str], services: Services) -> str:
    """Address of running doors, ending in ``/api/v1``."""
    return serve(services)


@pytest.fixture
def signed_in(address: str, services: Services) -> Iterator[SignedIn]:
    """Opens a browser: ``signed_in(account)``, or nobody's with None."""
    clients: list[httpx.Client] = []

    def open_browser(account: Account | None) -> httpx.Client:
        client = httpx.Client(base_url=address, headers={"X-Melodeon": "1"}, timeout=60.0)
        clients.append(client)
        if account is not None:
            with services.database.transaction() as session:
                ticket = sessions.begin(session, account.id, days=1).ticket
                token = sessions.redeem_ticket(session, ticket, user_agent="tests")
            client.cookies.set(cookie_name(services), token or "")
        return client

    yield open_browser
    for client in clients:
        client.close()


@pytest.fixture
def make_song(database: Database, store: FolderStore, ask: Callable, claim: Callable[..., Claimed]) -> MakeSong:
    """Makes a finished song with its files: ``make_song(account, title="…", published=True)``."""
    numbers = itertools.count(1)

    def make(account: Account, *, title: str = "Harbour", published: bool = False) -> Song:
        job = ask(account, brief=Brief(description="a song about the sea"))
        claimed = claim(account)
        assert claimed.job_id == job.id
        takes = []
        for index in (0, 1):
            number = next(numbers)
            assets = {
                role: store.put(f"songs/{number}/{role.value}", content + str(number).encode(), media_type=media_type)
                for role, (content, media_type) in CONTENTS.items()
            }
            words = {"title": title, "prompt": "warm folk", "lyrics": "la la", "tags": ("folk",)}
            takes.append(
                MadeTake(index=index, assets=assets, engine="builtin-song", engine_version="1", seed=7, **words)
            )
        with database.transaction() as session:
            attempts.finish(session, claimed.job_id, claimed.attempt, takes, now=Services.now())
            song_id = job.song_ids[0]
            if published:
                song_rows.publish(session, song_id)
            song = song_rows.by_id(session, song_id)
        assert song is not None
        return song

    return make
