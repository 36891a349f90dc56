"""What the tests of security ask for: the web process alone on a real Postgres, songs with real files, a browser."""

import email
import email.policy
import itertools
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from billing import ledger
from configs.secrets import load_or_create
from data import audio_files, picture_files
from data.database import Database
from data.embedded_postgres import EmbeddedPostgres, free_port
from data.folder_store import FolderStore
from data.provenance import Labels
from data.repositories import accounts, sessions, songs
from data.repositories.job_songs import MadeTake
from data.testing import fresh_database
from serving import attempts, jobs
from serving.mail import FolderPost
from serving.post_round import send_waiting
from studio.sound.clip import Clip
from studio.words.account import Account
from studio.words.asset import Asset, AssetRole
from studio.words.brief import Brief
from studio.words.song import Song
from studio.words.take import Picture

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PATIENCE_MS = 60_000
COOKIE = "melodeon_session"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Site:
    """The web process of an installation without worker and engines, and what it stands on."""

    url: str
    var: Path
    database: Database
    store: FolderStore

    def account(self, name: str = "") -> Account:
        """A new account with credits; the first is the admin."""
        name = name or f"person{next(_numbers)}"
        with self.database.transaction() as session:
            made = accounts.create(session, name=name, email=f"{name}@example.org", password_hash=None)
            ledger.open_with_signup_grant(session, made.id, amount=100, now=datetime.now(UTC))
        return made

    def token(self, account: Account) -> str:
        """The cookie of a session that this account has just begun."""
        with self.database.transaction() as session:
            ticket = sessions.begin(session, account.id, days=1).ticket
            token = sessions.redeem_ticket(session, ticket, user_agent="tests")
        assert token is not None
        return token

    def song(self, account: Account, *, published: bool = True, brief: Brief | None = None, **words: object) -> Song:
        """A finished song with real files; ``words`` are those of its take (title, lyrics, tags …)."""
        with self.database.transaction() as session:
            key = f"key {next(_numbers)}"
            brief = brief or Brief(description="a song about the sea")
            job = jobs.request(session, account, brief, key=key, now=datetime.now(UTC), draw_seed=lambda: 7)
        with self.database.transaction() as session:
            claimed = attempts.claim(session, account.id, lease_s=30.0)
        assert claimed is not None
        assert claimed.job_id == job.id
        told: dict[str, object] = {
            "title": "Harbour", "prompt": "warm folk", "lyrics": "la la", "tags": ("folk",), "engine": "builtin-song",
            "engine_version": "1", "seed": 7, "duration_s": 2.0, "tempo_bpm": 90.0,
        }  # fmt: skip
        takes = [MadeTake(index=at, assets=_files(self.store), **(told | words)) for at in (0, 1)]  # type: ignore[arg-type]
        with self.database.transaction() as session:
            attempts.finish(session, claimed.job_id, claimed.attempt, takes, now=datetime.now(UTC))
            if published:
                songs.publish(session, job.song_ids[0])
            made = songs.by_id(session, job.song_ids[0])
        assert made is not None
        return made


def _files(store: FolderStore) -> dict[AssetRole, Asset]:
    """The files of a take: two seconds of a tone, its waveform, a grey cover."""
    number = next(_numbers)
    tone = np.sin(np.arange(96_000) * 0.03, dtype=np.float32) * 0.2
    clip = Clip(samples=np.stack([tone, tone]))
    aside = store._folder.parent / f"take{number}"
    labels = Labels(title="Harbour", artist="ada", comment="", software="", date="")
    audio_files.encode_wav(clip, aside.with_suffix(".wav"), labels)
    audio_files.encode_mp3(clip, aside.with_suffix(".mp3"), labels)
    cover = Picture(pixels=np.full((512, 512, 3), 90, np.uint8))
    contents: dict[AssetRole, tuple[bytes | Path, str]] = {
        AssetRole.WAV: (aside.with_suffix(".wav"), "audio/wav"),
        AssetRole.STREAM: (aside.with_suffix(".mp3"), "audio/mpeg"),
        AssetRole.PEAKS: (json.dumps({"duration_s": 2.0, "peaks": [0.2] * 100}).encode(), "application/json"),
        AssetRole.COVER: (picture_files.encode_png(cover), "image/png"),
        AssetRole.COVER_512: (picture_files.encode_webp(cover, size_px=512), "image/webp"),
        AssetRole.COVER_128: (picture_files.encode_webp(cover, size_px=128), "image/webp"),
    }
    return {
        role: store.put(f"songs/{number}/{role.value}", content, media_type=media_type)
        for role, (content, media_type) in contents.items()
    }


@pytest.fixture(scope="module")
def site(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A running web process, for all tests of a file."""
    with fresh_database(postgres) as database, web_process(database, tmp_path_factory.mktemp("site")) as running:
        yield running


class web_process:  # noqa: N801 - reads as a sentence
    """``python -m ui.server`` on a database and a folder; more settings as environment variables."""

    def __init__(self, database: Database, var: Path, **settings: str) -> None:
        self._port = free_port()
        self._environment = {
            "MELODEON_VAR": str(var),
            "MELODEON_DATABASE__URL": database.conninfo,
            "MELODEON_WEB__PORT": str(self._port),
            "MELODEON_SERVE__GATEWAY_URL": "http://127.0.0.1:9",
            **settings,
        }
        store = FolderStore(var / "objects", load_or_create(var).link_key)
        self._site = Site(url=f"http://127.0.0.1:{self._port}", var=var, database=database, store=store)

    def __enter__(self) -> Site:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MELODEON_")}
        self._log = (self._site.var / "web.txt").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ui.server"],
            env={**environment, **self._environment},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        until = time.monotonic() + 600
        try:
            while not _alive(self._site.url):
                said = Path(self._log.name).read_text()[-2_000:]
                assert self._process.poll() is None, said
                assert time.monotonic() < until, said
                time.sleep(0.1)
        except BaseException:
            self.__exit__()
            raise
        return self._site

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=30)
        finally:
            self._process.kill()
            self._log.close()


@pytest.fixture(scope="session", name="web_process")
def web_process_fixture() -> type[web_process]:
    """`web_process`; tests cannot import from here."""
    return web_process


def _alive(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/api/v1/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def until(page: Page, expression: str) -> None:
    """Wait for a JavaScript expression. (Playwright's own way needs eval, which the pages' policy refuses.)"""
    for _ in range(PATIENCE_MS // 100):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"it never came true: {expression}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; not for longer, because while Playwright is open nothing else here may run asyncio."""
    assert Path(CHROMIUM).exists(), "The browser tests need Chromium: install the package chromium."
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture(name="until")
def until_fixture() -> Callable[[Page, str], None]:
    """`until`; tests cannot import from here."""
    return until


OpenBrowser = Callable[[Account | None], BrowserContext]


@pytest.fixture
def open_browser(site: Site, browser: Browser) -> Iterator[OpenBrowser]:
    """A browser of its own for somebody who is signed in, or for nobody."""
    contexts: list[BrowserContext] = []

    def make(account: Account | None) -> BrowserContext:
        context = browser.new_context(viewport={"width": 1400, "height": 900})
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        if account is not None:
            context.add_cookies([{"name": COOKIE, "value": site.token(account), "url": site.url, "httpOnly": True}])
        return context

    yield make
    for context in contexts:
        context.close()


class Letters:
    """What the product has written to people: each asking sends what waits and answers what was sent then."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder

    def sent(self) -> list[EmailMessage]:
        """Send what waits; the letters of this round, oldest first."""
        before = set(self._folder.glob("*.eml"))
        send_waiting(self._database, FolderPost(self._folder, "Melodeon <studio@example.org>"), address=HOME)
        new = sorted(set(self._folder.glob("*.eml")) - before)
        return [email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in new]

    def token(self) -> str:
        """The token in the one letter that waits."""
        (letter,) = self.sent()
        return self.token_in(letter)

    @staticmethod
    def token_in(letter: EmailMessage) -> str:
        """The token of the link in a letter."""
        found = re.search(rf"{re.escape(HOME)}/(?:verify|reset)\?token=([\w-]+)", letter.get_content())
        assert found is not None, letter.get_content()
        return found[1]


HOME = "https://songs.example"


@pytest.fixture
def letters(database: Database, tmp_path: Path) -> Letters:
    """The mailbox of everybody."""
    return Letters(database, tmp_path / "mail")
