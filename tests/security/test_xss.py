"""People's text in every field on every page in a real browser: nothing of it runs, nothing of it loads from elsewhere.

The browser ignores the Content-Security-Policy here: this is about what the pages make of text, not about what is
caught behind them (tests/security/test_csp.py). A new field of text: write it in `hostile_song` or `hostile_account`.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import text

from data.repositories import api_keys
from studio.words.account import Account
from studio.words.api_key import Scope
from studio.words.brief import TITLE_MAX, Brief, BriefMode
from studio.words.song import Song
from studio.words.take import TimedLine

RUN = "window.__ran=1"
AWAY = "//away.invalid"

TAGS = [
    f"<script>{RUN}</script>",
    f"<ScRiPt>{RUN}</sCrIpT>",
    f"<script src={AWAY}/x.js></script>",
    f"<<script>{RUN};//<</script>",
    f"</script><script>{RUN}</script>",
    f"<script/x>{RUN}</script>",
    f"<img src=x onerror={RUN}>",
    f"<img src=x onerror='{RUN}'//>",
    f"<IMG SRC=x ONERROR={RUN}>",
    f"<img/src=x/onerror={RUN}>",
    f"<img src={AWAY}/i.png>",
    f"<img srcset='{AWAY}/i.png 1x'>",
    f"<image src=x onerror={RUN}>",
    f"<svg onload={RUN}>",
    f"<svg/onload={RUN}>",
    f"<svg><script>{RUN}</script></svg>",
    f"<svg><animate onbegin={RUN} attributeName=x dur=1s>",
    f"<svg><set onbegin={RUN} attributeName=x>",
    f"<svg><image href={AWAY}/i.svg></svg>",
    f"<svg><use href='data:image/svg+xml,<svg onload={RUN}>#x'></use></svg>",
    f"<svg><a xlink:href='javascript:{RUN}'><text>x</text></a></svg>",
    f"<math><mtext><img src=x onerror={RUN}></mtext></math>",
    f"<math href='javascript:{RUN}'>x</math>",
    f"<iframe src='javascript:{RUN}'></iframe>",
    f"<iframe srcdoc='<script>parent.{RUN}</script>'></iframe>",
    f"<iframe src={AWAY}></iframe>",
    f"<object data='javascript:{RUN}'></object>",
    f"<embed src='javascript:{RUN}'>",
    f"<object data={AWAY}/x.swf></object>",
    f"<body onload={RUN}>",
    f"<body onpageshow={RUN}>",
    f"<details open ontoggle={RUN}>x</details>",
    f"<input autofocus onfocus={RUN}>",
    f"<select autofocus onfocus={RUN}>",
    f"<textarea autofocus onfocus={RUN}>",
    f"<video src=x onerror={RUN}>",
    f"<video><source onerror={RUN}></video>",
    f"<audio src=x onerror={RUN}>",
    f"<audio autoplay src={AWAY}/a.mp3>",
    f"<video poster={AWAY}/p.png></video>",
    f"<marquee onstart={RUN}>x</marquee>",
    f"<style>@import '{AWAY}/x.css';</style>",
    f"<style>*{{background:url({AWAY}/b.png)}}</style>",
    f"<link rel=stylesheet href={AWAY}/x.css>",
    f"<link rel=preload as=script href={AWAY}/x.js>",
    f"<link rel=icon href={AWAY}/f.ico>",
    f"<base href={AWAY}/>",
    f"<meta http-equiv=refresh content='0;url={AWAY}'>",
    f"<meta http-equiv=refresh content='0;url=javascript:{RUN}'>",
    f"<form action='javascript:{RUN}'><button>x</button></form>",
    f"<button formaction='javascript:{RUN}' autofocus>x</button>",
    f"<a href='javascript:{RUN}'>x</a>",
    f"<a href='java\tscript:{RUN}'>x</a>",
    f"<a href='data:text/html,<script>{RUN}</script>'>x</a>",
    f"<div style='background:url({AWAY}/b.png)'>x</div>",
    f"<div style='animation-name:x' onanimationstart={RUN}>x</div>",
    f"<p onmouseover={RUN}>x</p>",
    f"<x onclick={RUN} tabindex=1 autofocus onfocus={RUN}>",
    f"<template><script>{RUN}</script></template>",
    f"<noscript><p title='</noscript><img src=x onerror={RUN}>'>",
    f"<!--><img src=x onerror={RUN}>-->",
    f"<![CDATA[><script>{RUN}</script>]]>",
    f"<table background={AWAY}/b.png><td>x",
    f"<portal src={AWAY}>",
    f"<keygen autofocus onfocus={RUN}>",
]
BROKEN_OUT_OF = [
    f'"><script>{RUN}</script>',
    f"'><script>{RUN}</script>",
    f'"><img src=x onerror={RUN}>',
    f"' onmouseover='{RUN}' autofocus onfocus='{RUN}",
    f'" autofocus onfocus="{RUN}',
    f"</textarea><script>{RUN}</script>",
    f"</title><script>{RUN}</script>",
    f"</style><script>{RUN}</script>",
    f"-->\"'><svg onload={RUN}>",
    f"';{RUN};//",
    f'";{RUN};//',
    f'\\";{RUN};//',
    f"`${{{RUN}}}`",
    f"${{{RUN}}}",
    f"{{{{constructor.constructor('{RUN}')()}}}}",
    f"{{{{{RUN}}}}}",
    f"<%= {RUN} %>",
    f"#{{{RUN}}}",
    f"\u2028{RUN}",
    f"&lt;script&gt;{RUN}&lt;/script&gt;",
    f"&#60;img src=x onerror={RUN}&#62;",
    f"\\u003cscript\\u003e{RUN}\\u003c/script\\u003e",
    f"%3Cscript%3E{RUN}%3C/script%3E",
    f"＜script＞{RUN}＜/script＞",
    f"\u202e>tpircs<{RUN}",
]
MARKDOWN = [
    f"![x](http:{AWAY}/i.png)",
    f"![x](https:{AWAY}/i.png \"t\")",
    f"[x](javascript:{RUN})",
    f"[x](JaVaScRiPt:{RUN})",
    f"[x](&#106;avascript:{RUN})",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    f"<javascript:{RUN}>",
    f"<http:{AWAY}/auto>",
    f"[x]: javascript:{RUN}\n\n[x]",
    f"![x][y]\n\n[y]: http:{AWAY}/i.png",
    f"[![x](http:{AWAY}/i.png)](javascript:{RUN})",
    f"$\\href{{javascript:{RUN}}}{{x}}$",
    f"$$\\includegraphics{{http:{AWAY}/i.png}}$$",
    f"$\\htmlData{{x=1}}{{\\url{{javascript:{RUN}}}}}$",
    f":material/x\" onload={RUN}:",
    f":red[<img src=x onerror={RUN}>]",
    f":blue-badge[![x](http:{AWAY}/i.png)]",
    f"# <img src=x onerror={RUN}>",
    f"> <svg onload={RUN}>",
    f"```html\n<script>{RUN}</script>\n```",
    f"| a |\n|---|\n| <img src=x onerror={RUN}> |",
    f"- [ ] <img src=x onerror={RUN}>",
    f"[^1]\n\n[^1]: <img src=x onerror={RUN}>",
]  # fmt: skip
PAYLOADS = [*TAGS, *BROKEN_OUT_OF, *MARKDOWN]
SOME = [PAYLOADS[at] for at in (0, 6, 10, 13, 24, 51, 65, len(TAGS) + len(BROKEN_OUT_OF), -12, -9)]

TRACES = """() => {
    const found = window.__ran ? ["it ran"] : [];
    const leads = ["href", "xlink:href", "src", "srcset", "srcdoc", "data", "poster", "action", "formaction"];
    const bad = /away\\.invalid|^\\s*(java\\s*script|vbscript|data:text)/i;
    const walk = root => {
        for (const e of root.querySelectorAll("*")) {
            if (e.shadowRoot) walk(e.shadowRoot);
            for (const a of e.attributes)
                if (/^on/i.test(a.name) || leads.includes(a.name.toLowerCase()) && bad.test(a.value))
                    found.push(e.outerHTML.slice(0, 200));
        }
    };
    walk(document);
    return found;
}"""


def test_there_are_enough_of_them() -> None:
    assert len(set(PAYLOADS)) == len(PAYLOADS) >= 100


def hostile_song(site, account: Account, payload: str) -> Song:
    """A published song whose every text is the payload."""
    whole = payload.replace("\n", " ")
    brief = Brief(mode=BriefMode.DESCRIBED_LYRICS, prompt=payload, described_lyrics=payload, title=whole[:TITLE_MAX])
    line = TimedLine(start_s=0.0, end_s=1.0, text=whole)
    words = {"title": whole[:TITLE_MAX], "prompt": payload, "lyrics": payload, "note": payload, "lines": (line,)}
    song = site.song(account, brief=brief, tags=(whole[:40],), **words)
    with site.database.transaction() as session:
        session.execute(text("UPDATE song SET description = :it WHERE id = :id"), {"it": payload, "id": song.id})
    return song


def hostile_account(site, payloads: list[str]) -> Account:
    """Somebody whose e-mail address, API keys and browsers' names are payloads."""
    account: Account = site.account()
    with site.database.transaction() as session:
        address = f"<img/src=x/onerror={RUN}>{account.name}@a.example"
        session.execute(text("UPDATE account SET email = :it WHERE id = :id"), {"it": address, "id": account.id})
        for payload in payloads[:5]:
            api_keys.make(session, account.id, payload.replace("\n", " ")[:40], [Scope.READ])
    for payload in payloads:
        site.token(account)
        with site.database.transaction() as session:
            session.execute(
                text("UPDATE session SET user_agent = :it WHERE account_id = :id AND user_agent = 'tests'"),
                {"it": payload.replace("\n", " ")[:200], "id": account.id},
            )
    return account


class Watcher:
    """Notes what a page should never do."""

    def __init__(self, page: Page, home: str) -> None:
        self.page = page
        self.wrong: list[str] = []
        page.on("dialog", lambda dialog: (self.wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((home, home.replace("http", "ws"), "data:image", "blob:"))
                else self.wrong.append(f"loads {request.url[:200]}")
            ),
        )

    def visit(self, address: str) -> None:
        """Open a page, let it settle, look at it all."""
        self.page.goto(address)
        expect(self.page.get_by_test_id("stSidebar")).to_be_visible(timeout=60_000)
        expect(self.page.get_by_role("heading").first).to_be_visible(timeout=60_000)
        self.page.wait_for_timeout(700)
        self.wrong += [f"{address}: {trace}" for trace in self.page.evaluate(TRACES)]


@pytest.fixture
def watch(site, browser) -> Iterator:
    """Opens a watched browser for an account; it heeds no Content-Security-Policy."""
    contexts = []

    def make(account: Account) -> Watcher:
        context = browser.new_context(bypass_csp=True, viewport={"width": 1400, "height": 1400})
        contexts.append(context)
        context.add_cookies([{"name": "melodeon_session", "value": site.token(account), "url": site.url}])
        return Watcher(context.new_page(), site.url)

    yield make
    for context in contexts:
        context.close()


def walk_through(site, watch, payloads: list[str], *, songs: int) -> list[str]:
    """Show every payload on the pages of lists, and this many of the songs on their own pages."""
    author = hostile_account(site, payloads[:12])
    made = [hostile_song(site, author, payload) for payload in payloads]
    own, other = watch(author), watch(site.account())
    for page in ("", "library", "create", "account"):
        own.visit(f"{site.url}/{page}")
    other.visit(site.url)
    for song in made[:songs]:
        own.visit(f"{site.url}/song?id={song.id}")
    return own.wrong + other.wrong


def test_no_text_runs_or_loads_anything(site, watch) -> None:
    assert walk_through(site, watch, SOME, songs=2) == []


@pytest.mark.long
@pytest.mark.parametrize("start", range(0, len(PAYLOADS), 20))
def test_none_of_the_payloads_runs_or_loads_anything(site, watch, start: int) -> None:
    some = PAYLOADS[start : start + 20]
    assert walk_through(site, watch, some, songs=len(some)) == []


def test_the_watcher_sees_what_runs_and_what_loads(site, watch) -> None:
    watcher = watch(site.account())
    watcher.visit(site.url)
    assert watcher.wrong == []
    planted = TAGS[6] + TAGS[10] + "<a href='java\tscript:1'>x</a>"
    watcher.page.evaluate("html => document.body.insertAdjacentHTML('beforeend', html)", planted)

    def has_seen() -> tuple[int, bool]:
        return len(watcher.page.evaluate(TRACES)), any("away.invalid" in line for line in watcher.wrong)

    for _ in range(600):
        if has_seen() == (4, True):
            break
        watcher.page.wait_for_timeout(100)
    assert has_seen() == (4, True)
