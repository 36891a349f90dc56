"""The components in a real browser, on a small Streamlit application of the tests' own."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import melodeon_ui
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, ViewportSize, expect, sync_playwright

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)

CONFIG = """
[browser]
gatherUsageStats = false
[client]
toolbarMode = "minimal"
[theme]
baseRadius = "large"
buttonRadius = "full"
paddingBottom = "7rem"
[theme.light]
primaryColor = "#b3361d"
backgroundColor = "#fffaf2"
secondaryBackgroundColor = "#f4ece0"
textColor = "#241c1a"
[theme.dark]
primaryColor = "#ff8a5c"
backgroundColor = "#15110e"
secondaryBackgroundColor = "#211c19"
textColor = "#f5efe8"
"""

SONGS = """
API = "/api/v1"
HOSTILE = "<script>window.hacked = 1</script><img src=x onerror='window.hacked=1'>"


def song(id, title, artist="Mira Sol", duration_s=60.0, **more):
    base = f"{API}/songs/{id}"
    return {
        "id": id, "title": title, "artist": artist, "cover": f"{base}/cover", "cover_small": f"{base}/cover",
        "src": f"{base}/stream", "peaks": f"{base}/peaks", "duration_s": duration_s,
        "tags": ["dream pop", "warm"], "tempo_bpm": 92.4, "engine_label": "Built-in composer",
        "page": f"/song?id={id}", **more,
    }


PLAYABLE = [
    song("s1", "Paper Lanterns", artist_colour="#1c6474", artist_picture=f"{API}/songs/s1/cover"),
    song("s2", "Night Ferry", "Halyard", duration_s=240.0, artist_colour="#2f559c"),
    song("s3", "Copper Rain", "ode & Ivory", duration_s=240.0, badges=["AI-generated", "Private"],
         artist_colour="#5b479e", artist_picture=f"{API}/songs/s3/nothing"),
    song("s4", HOSTILE, HOSTILE, artist_colour="#8a3a74"), song("short", "A Short Waltz", "The Reeds", duration_s=12.0),
]
UNREADY = [
    {"id": "u1", "title": "Slow Orbit", "status": "processing", "status_text": "Music · about 20 s left"},
    {"id": "u2", "title": "Tin Roof", "status": "queued", "artist": "Mira Sol"},
    {"id": "u3", "title": "Glasshouse", "status": "failed", "status_text": "The engine ran out of memory."},
    {"id": "u4", "title": "Harbour", "status": "no credits"},
    {"id": "u5", "title": "Loft", "status": "cancelled", "menu": [{"id": "again", "label": "Try again"}]},
    {"id": "u6", "loading": True},
]
BY_ID = {one["id"]: one for one in PLAYABLE}
"""

MAIN = """
import streamlit as st
import melodeon_ui as ui
from songs import BY_ID, PLAYABLE, UNREADY

st.set_page_config(page_title="Stage", layout="wide")
MENU = [
    {"id": ui.PLAY_NEXT, "label": "Play next", "icon": "playlist_play"},
    {"id": ui.ADD_TO_QUEUE, "label": "Add to queue", "icon": "queue_music"},
    {"id": "download", "label": "Download", "icon": "download"},
    {"id": "delete", "label": "Delete", "icon": "delete", "danger": True},
]


def cards():
    st.title("Cards")
    st.session_state.runs = st.session_state.get("runs", 0) + 1
    st.button("Rerun")
    st.text_input("Search")
    st.write(f"run {st.session_state.runs}")
    events = ui.song_cards(PLAYABLE + UNREADY, "grid", menu=MENU)
    if events.action:
        st.write(f"did {events.action.item} on {events.action.song}")
    if events.open:
        st.switch_page(SONG, query_params={"id": events.open})


def rows():
    st.title("Rows")
    ui.song_cards(PLAYABLE[:3] + UNREADY, "list", layout="list", menu=MENU)
    ui.song_cards([], "none", empty="No songs yet. Create the first one.")


def pair():
    st.title("Pair")
    ui.song_cards([{**PLAYABLE[0], "badges": ["Take 1"]}, {**PLAYABLE[1], "badges": ["Take 2"]}], "pair", layout="pair")
    ui.job_rail(key="panel", layout="panel")


def show_song():
    one = BY_ID[st.query_params["id"]]
    st.title("Song")
    lines = [{"start_s": 5.0 * i, "end_s": 5.0 * i + 4, "text": f"line {i} of the song"} for i in range(12)]
    names = ["Intro", "Verse 1", "Chorus", "Verse 2", "Chorus", "Outro"]
    sections = [{"name": n, "start_s": 10.0 * i, "end_s": 10.0 * i + 10} for i, n in enumerate(names)]
    ui.song_view(one, lines, sections, key="song")


def session():
    st.title("Session")
    if st.button("Sign in"):
        st.session_state.exchange = ("sign_in", "n1", "ticket-1")
    if st.button("Sign out"):
        st.session_state.exchange = ("sign_out", "n2", "")
    if st.button("Wrong ticket"):
        st.session_state.exchange = ("sign_in", "n3", "wrong")
    st.toggle("Stop", key="stop")
    op, nonce, ticket = st.session_state.get("exchange", (None, "", ""))
    st.write(f"done {ui.session_bridge(op, nonce, ticket).done}")
    if st.button("Run a script"):
        ui.departure("javascript:window.hacked=1", "n4")
        st.write("stayed")
    if st.button("Leave"):
        ui.departure("/rows?left=1", "n5")


SONG = st.Page(show_song, title="Song", url_path="song", visibility="hidden")
others = [st.Page(page, title=page.__name__.title()) for page in (rows, pair, session)]
pages = [st.Page(cards, title="Cards", default=True), *others]
nav = st.navigation([*pages, SONG])
opened = ui.player(stop=st.session_state.get("stop", False))
with st.sidebar:
    job = ui.job_rail(key="rail")
if job.finished:
    st.session_state.finished = [*st.session_state.get("finished", []), job.finished]
if job.ended:
    st.session_state.ended = [*st.session_state.get("ended", []), job.ended]
st.sidebar.write(f"finished: {','.join(st.session_state.get('finished', [])) or 'none'}")
st.sidebar.write(f"ended: {','.join(st.session_state.get('ended', [])) or 'none'}")
if opened.open:
    st.switch_page(SONG, query_params={"id": opened.open})
nav.run()
"""

ASGI = '''
import asyncio
import io
import json
import math
import wave

import streamlit as st
from songs import BY_ID
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

RATE_HZ = 8000
PLAYS, CANCELLED, EVENTS, NEWS, BROKEN = [], [], [], [], []
JOB = {"title": "A wish", "stage": "music", "progress": 1.0, "message": "", "eta_s": None, "song_ids": []}


def sound(duration_s):
    tone = bytes(int(128 + 40 * math.sin(2 * math.pi * 220 * n / RATE_HZ)) for n in range(RATE_HZ // 10))
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 1, RATE_HZ, 0, "NONE", ""))
        file.writeframes(tone * int(duration_s * 10))
    return out.getvalue()


SOUNDS = {id: sound(one["duration_s"]) for id, one in BY_ID.items()}


async def stream(request):
    id = request.path_params["id"]
    if id in BROKEN:
        BROKEN.remove(id)
        return Response(status_code=503)
    body, asked = SOUNDS[id], request.headers.get("range")
    if not asked:
        return Response(body, media_type="audio/wav", headers={"accept-ranges": "bytes"})
    first, _, last = asked.removeprefix("bytes=").partition("-")
    start, end = int(first), min(int(last or len(body) - 1), len(body) - 1)
    headers = {"content-range": f"bytes {start}-{end}/{len(body)}", "accept-ranges": "bytes"}
    return Response(body[start : end + 1], 206, headers, "audio/wav")


async def peaks(request):
    values = [abs(math.sin(n / 9)) * (0.4 + 0.6 * abs(math.sin(n / 61))) for n in range(400)]
    return JSONResponse({"peaks": values} if request.path_params["id"] == "s2" else values)


async def cover(request):
    hue = sum(map(ord, request.path_params["id"])) * 47 % 360
    ground = f'<rect width="9" height="9" fill="hsl({hue} 45% 40%)"/>'
    moon = f'<circle cx="3" cy="4" r="3" fill="hsl({hue + 90} 60% 60%)"/>'
    picture = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">{ground}{moon}</svg>'
    return Response(picture, media_type="image/svg+xml")


async def played(request):
    PLAYS.append({"song": request.path_params["id"], **await request.json()})
    return Response(status_code=204)


async def cancel(request):
    if request.headers.get("x-melodeon") != "1":
        return Response(status_code=403)
    CANCELLED.append(request.path_params["id"])
    return JSONResponse({})


async def look_at(request):
    """A job that ended while nobody listened."""
    return JSONResponse({"ok": True, "data": {**JOB, "id": request.path_params["id"], "state": "processed"}})


async def events(request):
    async def lines():
        sent = len(NEWS)
        for event in {one["id"]: one for one in EVENTS}.values():
            yield f"event: job\\ndata: {json.dumps(event)}\\n\\n"
        yield 'event: balance\\ndata: {"available_credits": 98, "held_credits": 2}\\n\\n'
        while not await request.is_disconnected():
            for event in NEWS[sent:]:
                yield f"event: job\\ndata: {json.dumps(event)}\\n\\n"
            sent = len(NEWS)
            await asyncio.sleep(0.1)

    return StreamingResponse(lines(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})


async def session(request):
    if request.headers.get("x-melodeon") != "1":
        return Response(status_code=403)
    answer = Response(status_code=204)
    if request.method == "DELETE":
        answer.delete_cookie("sid")
        return answer
    if (await request.json())["ticket"] != "ticket-1":
        return Response(status_code=401)
    answer.set_cookie("sid", "secret", httponly=True, samesite="lax")
    return answer


async def control(request):
    """The tests' own door: add an event, break a stream once, read what was recorded."""
    body = await request.json()
    for told in (EVENTS, NEWS):  # how things stand, which is forgotten on wish, and what streams are told
        told.extend(body.get("events", []))
    BROKEN.extend(body.get("broken", []))
    if body.get("forget"):
        EVENTS.clear()
        BROKEN.clear()
    return JSONResponse({"plays": PLAYS, "cancelled": CANCELLED})


API = "/api/v1"
app = st.App(
    "main.py",
    routes=[
        Route(f"{API}/songs/{{id}}/stream", stream), Route(f"{API}/songs/{{id}}/peaks", peaks),
        Route(f"{API}/songs/{{id}}/cover", cover), Route(f"{API}/songs/{{id}}/plays", played, methods=["POST"]),
        Route(f"{API}/jobs/{{id}}/cancel", cancel, methods=["POST"]), Route(f"{API}/events", events),
        Route(f"{API}/jobs/{{id}}", look_at),
        Route(f"{API}/auth/session", session, methods=["POST", "DELETE"]),
        Route("/control", control, methods=["POST"]),
    ],
)
'''


class Stage:
    """The application in a process of its own; it can be stopped and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        (folder / ".streamlit").mkdir()
        (folder / ".streamlit" / "config.toml").write_text(CONFIG)
        for name, text in (("songs.py", SONGS), ("main.py", MAIN), ("asgi.py", ASGI)):
            (folder / name).write_text(text)

    def start(self) -> None:
        command = [sys.executable, "-m", "uvicorn", "asgi:app", "--port", str(self.port), "--log-level", "warning"]
        command += ["--timeout-graceful-shutdown", "1"]
        with (self.folder / "log.txt").open("ab") as log:
            env = {**os.environ, "PYTHONPATH": str(self.folder)}
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, env=env)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        pytest.fail(f"the stage did not start: {(self.folder / 'log.txt').read_text()}")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(20)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("stage"))
    stage.start()
    yield stage
    stage.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One for all tests: the browser then reads Streamlit's own scripts from its cache."""
    context = browser.new_context(viewport={"width": 1280, "height": 860}, color_scheme="dark")
    context.set_default_timeout(45_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, stage: Stage) -> Iterator[Page]:
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(stage.url)
    expect(page.locator(".card.ready")).to_have_count(5)
    yield page
    page.evaluate("window.__melodeon?.clear()")  # a page that is left quickly has no player yet
    page.close()
    context.clear_cookies()
    assert errors == []


def control(page: Page, stage: Stage, **body: object) -> dict[str, Any]:
    answer: dict[str, Any] = page.request.post(f"{stage.url}/control", data=body).json()
    return answer


def position_s(page: Page) -> float:
    return float(page.evaluate("window.__melodeon.audio.currentTime"))


def plays_on(page: Page) -> float:
    """Wait until the sound has moved on from where it is now; its new position."""
    before_s = position_s(page)
    page.wait_for_function(
        "before => !window.__melodeon.audio.paused && window.__melodeon.audio.currentTime > before + 0.4", arg=before_s
    )
    return position_s(page)


def open_page(page: Page, title: str) -> None:
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=title, exact=True).click()
    expect(page.get_by_role("heading", name=title, exact=True, level=1)).to_be_visible()


def play(page: Page, title: str) -> None:
    page.get_by_role("button", name=f"Play {title}").first.click()
    expect(page.get_by_role("button", name=f"Pause {title}").first).to_be_visible()


def job(name: str, state: str, **more: object) -> dict[str, object]:
    start = {"title": f"Wish {name}", "stage": "music", "progress": 0.42, "message": "", "eta_s": 38}
    return {"id": name, "state": state, "song_ids": [], "position": None, **start, **more}


def test_music_survives_page_changes_and_reruns(page: Page) -> None:
    expect(page.get_by_role("region", name="Player")).to_be_hidden()
    play(page, "Copper Rain")
    page.evaluate("window.first = window.__melodeon.audio")
    heard = [plays_on(page)]
    for title in ("Rows", "Pair", "Cards"):
        open_page(page, title)
        heard.append(plays_on(page))
    page.get_by_role("button", name="Rerun").click()
    expect(page.get_by_text(re.compile(r"run [2-9]"))).to_be_visible()
    heard.append(plays_on(page))
    assert heard == sorted(heard)
    assert page.evaluate("window.first === window.__melodeon.audio")
    assert page.evaluate("navigator.mediaSession.metadata.title") == "Copper Rain"


def test_music_survives_a_server_restart(page: Page, stage: Stage) -> None:
    play(page, "Night Ferry")
    before_s = plays_on(page)
    stage.stop()
    down_s = plays_on(page)
    stage.start()
    open_page(page, "Rows")
    assert before_s < down_s < plays_on(page)
    expect(page.get_by_role("button", name="Pause Night Ferry")).to_be_visible()


def test_a_reload_brings_the_queue_back_paused_at_the_same_second(page: Page) -> None:
    play(page, "Paper Lanterns")
    page.get_by_role("slider", name="Position in the song").press("PageUp")
    assert plays_on(page) >= 30
    page.evaluate("addEventListener('pagehide', () => sessionStorage.left = window.__melodeon.audio.currentTime)")
    page.reload()
    expect(page.get_by_role("region", name="Player").get_by_role("link", name="Paper Lanterns")).to_be_visible()
    assert page.evaluate("window.__melodeon.audio.paused")
    assert page.evaluate("window.__melodeon.queue.length") == 5
    page.wait_for_function("window.__melodeon.audio.currentTime > 29")
    assert abs(position_s(page) - float(page.evaluate("sessionStorage.left"))) < 1


def test_player_controls_and_keys(page: Page) -> None:
    play(page, "Paper Lanterns")
    plays_on(page)
    bar = page.get_by_role("region", name="Player")
    bar.get_by_role("button", name="Next song").click()
    expect(bar.get_by_role("link", name="Night Ferry")).to_be_visible()
    plays_on(page)
    # only near its beginning does the key leave a song
    page.evaluate("Object.assign(window.__melodeon.audio, {currentTime: 0, playbackRate: 0.1})")
    page.keyboard.press("Shift+ArrowLeft")
    expect(bar.get_by_role("link", name="Paper Lanterns")).to_be_visible()
    bar.get_by_role("button", name="Pause", exact=True).click()
    assert page.evaluate("window.__melodeon.audio.paused")
    page.get_by_label("Search").press_sequentially("a b m")
    assert page.evaluate("window.__melodeon.audio.paused && !window.__melodeon.audio.muted")
    page.get_by_role("heading", name="Cards").click()
    page.keyboard.press("m")
    expect(bar.get_by_role("button", name="Unmute")).to_be_visible()
    page.keyboard.press("Space")
    plays_on(page)
    bar.get_by_role("button", name="Repeat: off").click()
    bar.get_by_role("button", name="Repeat: all songs").click()
    expect(bar.get_by_role("button", name="Repeat: this song")).to_be_visible()
    bar.get_by_role("slider", name="Volume").fill("0.3")
    assert page.evaluate("window.__melodeon.audio.volume") == pytest.approx(0.3)
    bar.get_by_role("slider", name="Position").press("End")
    expect(bar.get_by_role("slider", name="Position")).to_have_attribute(
        "aria-valuetext", re.compile(r"^0:0\d of 1:00")
    )


def test_queue_panel_shuffle_and_removal(page: Page) -> None:
    play(page, "Copper Rain")
    bar = page.get_by_role("region", name="Player")
    bar.get_by_role("button", name="Queue", exact=True).click()
    rows = bar.get_by_role("listitem")
    expect(rows).to_have_count(5)
    bar.get_by_role("button", name="Remove Night Ferry from the queue").click()
    expect(rows).to_have_count(4)
    before = page.evaluate("window.__melodeon.queue.map(song => song.id)")
    bar.get_by_role("button", name="Shuffle").click()
    mixed = page.evaluate("window.__melodeon.queue.map(song => song.id)")
    assert mixed[0] == "s3"
    assert sorted(mixed) == sorted(before)
    bar.get_by_role("button", name="Shuffle").click()
    assert page.evaluate("window.__melodeon.queue.map(song => song.id)") == before
    page.keyboard.press("Escape")
    expect(rows.first).to_be_hidden()
    plays_on(page)


def test_a_play_is_counted_once_after_half_of_a_short_song(page: Page, stage: Stage) -> None:
    def listened_s() -> list[int]:
        return [one["listened_s"] for one in control(page, stage)["plays"] if one["song"] == "short"]

    play(page, "A Short Waltz")
    page.wait_for_function("window.__melodeon.audio.currentTime > 1")
    assert listened_s() == []
    for _ in range(600):
        if listened_s():
            break
        page.wait_for_timeout(100)
    page.evaluate("window.__melodeon.audio.currentTime = 11")
    page.wait_for_function("window.__melodeon.audio.paused")
    (told_s,) = listened_s()
    # the player's clock moves in steps of less than two seconds
    assert 6 <= told_s <= 8


def test_a_broken_stream_is_tried_once_more(page: Page, stage: Stage) -> None:
    control(page, stage, broken=["s2"])
    play(page, "Night Ferry")
    plays_on(page)
    control(page, stage, broken=["s3"] * 9)
    bar = page.get_by_role("region", name="Player")
    bar.get_by_role("button", name="Next song").click()
    expect(bar.get_by_role("button", name="Try again")).to_be_visible()
    expect(bar.get_by_text("This song cannot be played right now.").first).to_be_visible()
    control(page, stage, forget=True)
    bar.get_by_role("button", name="Try again").click()
    plays_on(page)


def test_only_one_tab_plays(page: Page, stage: Stage, context: BrowserContext) -> None:
    play(page, "Paper Lanterns")
    plays_on(page)
    other = context.new_page()
    other.goto(stage.url)
    play(other, "Copper Rain")
    page.wait_for_function("window.__melodeon.audio.paused")
    plays_on(other)
    other.close()


def test_menu_by_mouse_and_keyboard(page: Page) -> None:
    play(page, "Paper Lanterns")
    button = page.get_by_role("button", name="More for Copper Rain")
    button.click()
    menu = page.get_by_role("menu", name="More for Copper Rain")
    expect(menu.get_by_role("menuitem")).to_have_count(4)
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    expect(button).to_be_focused()
    expect(button).to_have_attribute("aria-expanded", "false")
    page.keyboard.press("Enter")
    expect(menu.get_by_role("menuitem", name="Play next")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("window.__melodeon.queue.map(song => song.id)") == ["s1", "s3", "s2", "s4", "short"]
    expect(page.get_by_text("did ")).to_have_count(0)
    button.click()
    button.click()
    expect(menu).to_be_hidden()
    button.click()
    page.keyboard.press("ArrowUp")
    expect(menu.get_by_role("menuitem", name="Delete")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("did delete on s3")).to_be_visible()
    plays_on(page)


def test_states_menus_and_empty_lists(page: Page) -> None:
    grid = page.locator(".st-key-grid")
    for text in (
        "Music · about 20 s left",
        "In the queue",
        "The engine ran out of memory.",
        "Needs credits",
        "Cancelled",
    ):
        expect(grid.get_by_text(text)).to_be_visible()
    expect(grid.locator(".loading")).to_have_count(1)
    expect(grid.get_by_role("button", name="Play Slow Orbit")).to_have_count(0)
    page.get_by_role("button", name="More for Slow Orbit").click()
    expect(page.get_by_role("menuitem")).to_have_count(2)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="More for Loft").click()
    page.get_by_role("menuitem", name="Try again").click()
    expect(page.get_by_text("did again on u5")).to_be_visible()
    open_page(page, "Rows")
    expect(page.get_by_text("No songs yet. Create the first one.")).to_be_visible()


def test_a_card_shows_its_artist_s_picture_or_else_their_letter(page: Page) -> None:
    def artist(song_id: str) -> Locator:
        return page.locator(f'.st-key-grid [data-id="{song_id}"] .artist')

    seen = artist("s1").locator(".face img")
    expect(seen).to_be_visible()
    assert seen.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    expect(artist("s2").locator(".face")).to_have_text("H")
    expect(artist("s2").locator(".face")).to_have_css("background-color", "rgb(47, 85, 156)")
    artist("s3").scroll_into_view_if_needed()
    expect(artist("s3").locator("img")).to_have_count(0)  # it could not be loaded
    expect(artist("s3").locator(".face")).to_have_text("O")
    expect(artist("s4").locator(".face")).to_have_text("<")
    expect(artist("short").locator(".face")).to_have_count(0)
    for song_id in ("s1", "s2", "s3"):
        expect(artist(song_id).locator(".face")).to_have_attribute("aria-hidden", "true")


def test_text_from_people_stays_text(page: Page) -> None:
    hostile = "<script>window.hacked = 1</script>"
    page.get_by_role("button", name=re.compile(r"^Play <script>")).click()
    bar = page.get_by_role("region", name="Player")
    expect(bar.get_by_role("link", name=re.compile("^<script>"))).to_be_visible()
    bar.get_by_role("button", name="Queue", exact=True).click()
    expect(bar.get_by_role("listitem").filter(has_text=hostile)).to_have_count(1)
    bar.get_by_role("link").first.click()
    expect(
        page.get_by_role("region", name="Waveform").get_by_role("button", name=re.compile("Pause <script>"))
    ).to_be_visible()
    assert page.evaluate("window.hacked") is None


def test_song_view_seeks_follows_and_starts(page: Page) -> None:
    play(page, "Night Ferry")
    plays_on(page)
    # so slowly that no line is over before it is looked at
    page.evaluate("Object.assign(window.__melodeon.audio, {defaultPlaybackRate: 0.2, playbackRate: 0.2})")
    link = page.locator(".st-key-grid").get_by_role("link", name="Paper Lanterns")
    expect(link).to_have_attribute("href", "/song?id=s1")
    link.click()
    page.wait_for_url("**/song?id=s1")
    sheet = page.get_by_role("region", name="Waveform")
    lyrics = page.get_by_role("region", name="Lyrics")
    expect(sheet.get_by_role("button", name="Play Paper Lanterns")).to_be_visible()
    assert page.evaluate("window.__melodeon.current.id") == "s2"
    lyrics.get_by_role("button", name="line 4 of the song").click()
    expect(lyrics.locator("[aria-current]")).to_have_text("line 4 of the song")
    plays_on(page)
    assert page.evaluate("window.__melodeon.current.id") == "s1"
    assert 20 <= position_s(page) < 25
    sheet.get_by_role("button", name="Verse 2").click()
    expect(lyrics.locator("[aria-current]")).to_have_text("line 6 of the song")
    expect(sheet.locator("[aria-current]")).to_contain_text("Verse 2")
    expect(sheet.locator("[part~=region]")).to_have_count(6)
    box = sheet.get_by_role("slider").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + 40)
    expect(lyrics.locator("[aria-current]")).to_have_text("line 9 of the song")
    assert page.evaluate("document.querySelectorAll('audio').length") == 0


def test_job_rail_tells_each_finished_job_once(page: Page, stage: Stage) -> None:
    rail = page.locator(".st-key-rail")
    expect(rail.get_by_text("98 credits · 2 set aside")).to_be_visible()
    expect(rail.get_by_role("listitem")).to_have_count(0)
    control(page, stage, forget=True)
    control(page, stage, events=[job("j1", "processing"), job("j2", "queued", position=3, eta_s=150)])
    expect(rail.get_by_role("progressbar", name="Wish j1")).to_have_attribute("aria-valuenow", "42")
    expect(rail.get_by_text("Music · about 40 s left")).to_be_visible()
    expect(rail.get_by_text("Number 3 in the queue · about 3 min left")).to_be_visible()
    with page.expect_response("**/jobs/j2/cancel"):
        rail.get_by_role("button", name="Cancel Wish j2").click()
    expect(rail.get_by_role("button", name="Cancelling… Wish j2")).to_be_disabled()
    assert control(page, stage)["cancelled"] == ["j2"]
    open_page(page, "Pair")
    panel = page.locator(".st-key-panel")
    expect(panel.locator('[aria-current="step"]').first).to_have_text("Music")
    failed = job("j2", "failed", message="Playing pad", reason="The engine stopped. Nothing was charged.")
    done = [job("j1", "processed"), job("j1", "processed"), job("j4", "processed"), failed]
    page.wait_for_timeout(2500)  # what comes within a second of connecting counts as the picture, not as news
    control(page, stage, events=done)
    expect(page.get_by_text("finished: j1,j4")).to_be_visible()
    expect(page.get_by_text("ended: j2")).to_be_visible()
    expect(panel.get_by_text("The engine stopped. Nothing was charged.")).to_be_visible()
    expect(panel.get_by_text("Playing pad")).to_have_count(0)
    panel.get_by_role("listitem").filter(has_text="Wish j2").get_by_role("button", name="Dismiss").click()
    expect(rail.get_by_role("listitem")).to_have_count(0)
    open_page(page, "Cards")
    expect(page.get_by_text("finished: j1,j4")).to_be_visible()
    page.reload()
    expect(page.get_by_text("98 credits · 2 set aside")).to_be_visible()
    expect(page.get_by_text("finished: none")).to_be_visible()


def test_a_job_that_ended_while_the_stream_was_away_is_asked_for(page: Page, stage: Stage) -> None:
    control(page, stage, forget=True)
    control(page, stage, events=[job("j9", "processing")])
    expect(page.get_by_role("progressbar", name="Wish j9")).to_be_visible()
    stage.stop()
    stage.start()  # it knows nothing of the job any more, but for who asks
    expect(page.get_by_text("finished: j9")).to_be_visible(timeout=60_000)


def test_session_bridge_sets_and_clears_the_cookie_and_silences(page: Page, context: BrowserContext) -> None:
    play(page, "Paper Lanterns")
    open_page(page, "Session")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("done True")).to_be_visible()
    assert [one["httpOnly"] for one in context.cookies() if one["name"] == "sid"] == [True]
    plays_on(page)
    page.get_by_role("button", name="Wrong ticket").click()
    expect(page.get_by_text("done False")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("done True")).to_be_visible()
    assert [one for one in context.cookies() if one["name"] == "sid"] == []
    expect(page.get_by_role("region", name="Player")).to_be_hidden()
    assert page.evaluate("window.__melodeon.audio.paused && localStorage.getItem('melodeon.player') === null")


def test_the_stop_flag_silences_when_it_rises(page: Page) -> None:
    play(page, "Paper Lanterns")
    open_page(page, "Session")
    plays_on(page)
    page.get_by_text("Stop", exact=True).click()
    expect(page.get_by_role("region", name="Player")).to_be_hidden()
    assert page.evaluate("window.__melodeon.audio.paused && localStorage.getItem('melodeon.player') === null")


def test_a_departure_leaves_for_an_address_and_runs_no_script(page: Page) -> None:
    open_page(page, "Session")
    page.get_by_role("button", name="Run a script").click()
    expect(page.get_by_text("stayed")).to_be_visible()
    page.get_by_role("button", name="Leave").click()
    page.wait_for_url("**/rows?left=1")
    expect(page.get_by_role("heading", name="Rows")).to_be_visible()
    assert page.evaluate("window.hacked") is None
    page.go_back()
    expect(page.get_by_role("heading", name="Session")).to_be_visible()


def test_one_small_script_for_each_component() -> None:
    built = sorted((Path(melodeon_ui.__file__).parent / "frontend" / "build").iterdir())
    names = [re.sub(r"-[A-Z0-9]{8}\.js$", "", path.name) for path in built]
    assert names == ["departure", "job_rail", "player", "session_bridge", "song_cards", "song_view"]
    assert sum(path.stat().st_size for path in built) < 300_000


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_on_a_phone_everything_has_a_name_and_fits(page: Page, scheme: Literal["dark", "light"]) -> None:
    size: ViewportSize = {"width": 390, "height": 800}
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    play(page, "Paper Lanterns")
    bar = page.get_by_role("region", name="Player")
    for name in ("Pause", "Next song"):
        box = bar.get_by_role("button", name=name, exact=True).bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 44
        assert box["x"] + box["width"] <= size["width"]
    expect(bar.get_by_role("button", name="Shuffle")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    for key in ("grid", "player"):
        unnamed = (
            page.locator(f".st-key-{key}")
            .locator("button, a, [role=slider]")
            .evaluate_all(
                "all => all.filter(one => !one.ariaLabel && !one.textContent.trim()).map(one => one.outerHTML)"
            )
        )
        assert unnamed == []
