"""People with browsers, on the whole running product."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect, sync_playwright

import configs
from billing import ledger
from data.repositories import accounts, sessions
from serving.accounts import sign_up
from serving.api.identity import cookie_name
from studio.words.account import Account
from tests.conftest import Products
from ui.testing import Stack

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SCREEN: Final[ViewportSize] = {"width": 1400, "height": 900}
PATIENCE_MS = 60_000
PASSWORD = "correct horse battery"
_numbers = itertools.count(1)


class Person:
    """Somebody with a browser of their own."""

    def __init__(self, stack: Stack, context: BrowserContext, name: str) -> None:
        self.stack = stack
        self.context = context
        self.name = name
        self.page = self.tab()

    def tab(self) -> Page:
        """A new tab of the same browser."""
        page = self.context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        return page

    def open(self, path: str) -> Page:
        """Open an address cold, as from a bookmark, and wait until the page is drawn."""
        self.page.goto(self.stack.web_url + path)
        expect(self.page.get_by_test_id("stSidebar")).to_be_visible()
        return self.page

    def go(self, title: str) -> None:
        """Change the page by the menu."""
        self.page.get_by_test_id("stSidebarNavLink").filter(has_text=title).click()
        expect(self.page.get_by_role("heading", name=title, exact=True)).to_be_visible()

    def sign_up(self) -> None:
        """Make an account on the page and be signed in."""
        self.open("/sign-in")
        self.fill_sign_up()
        self.signed_in()

    def arrive(self) -> None:
        """Have a fresh account and be signed in, as after `sign_up` but without drawing a page, which takes seconds."""
        services = self.stack.services
        with services.database.transaction() as session:
            account = sign_up(
                session,
                name=self.name,
                email="",
                password=PASSWORD,
                signup_credits=services.settings.signup_credits,
                now=services.now(),
            )
            ticket = sessions.begin(session, account.id, days=1).ticket
            token = sessions.redeem_ticket(session, ticket, user_agent="a browser of tests")
        assert token is not None
        self.context.add_cookies([{"name": cookie_name(services), "value": token, "url": self.stack.web_url}])

    def fill_sign_up(self) -> None:
        """Fill in the form of a new account, which the page shows."""
        self.page.get_by_role("tab", name="New here").click()
        form = self.page.get_by_role("tabpanel").filter(has_text="Make your account")
        form.get_by_label("Name", exact=True).fill(self.name)
        form.get_by_label("Password", exact=True).fill(PASSWORD)
        form.get_by_role("button", name="Make my account").click()

    def sign_in(self, password: str = PASSWORD) -> None:
        """Fill in the sign-in form."""
        form = self.open("/sign-in").get_by_role("tabpanel").filter(has_text="Welcome back")
        form.get_by_label("Name", exact=True).fill(self.name)
        form.get_by_label("Password", exact=True).fill(password)
        form.get_by_role("button", name="Sign in").click()

    def signed_in(self) -> None:
        """Wait until the page knows this person, and the browser has a cookie that the doors take.

        The page knows first; whoever leaves it before the cookie has come leaves signed out. A browser may hold the
        dead cookie of an earlier session meanwhile, so the doors are asked, not the jar.
        """
        expect(self.page.locator(".st-key-to_account")).to_contain_text(self.name, timeout=PATIENCE_MS)
        for _ in range(PATIENCE_MS // 100):
            if self.page.request.get(f"{self.stack.web_url}/api/v1/auth/me").ok:
                return
            self.page.wait_for_timeout(100)
        raise AssertionError("the browser never got its session cookie")

    def describe(self, text: str) -> None:
        """Fill in the simple create form for the shortest song."""
        page = self.open("/create")
        page.get_by_label("Describe your song").fill(text)
        slider = page.get_by_role("slider").first
        slider.focus()
        slider.press("Home")
        expect(slider).to_have_value("10")

    def create(self, text: str) -> None:
        """Ask for a song."""
        self.describe(text)
        self.page.get_by_role("button", name="Create · 2 credits").click()

    def position_s(self, page: Page | None = None) -> float:
        """Where the music is."""
        return float((page or self.page).evaluate("window.__melodeon ? window.__melodeon.audio.currentTime : -1"))

    def plays_on(self, page: Page | None = None) -> None:
        """The music is playing and moves forward."""
        page = page or self.page
        last_s, moved_s = self.position_s(page), 0.0
        # Not wait_for_function, whose eval the page's Content-Security-Policy refuses.
        for _ in range(PATIENCE_MS // 100):
            now_s = self.position_s(page)
            # a song that ends begins anew, or another one begins: that is no step back
            moved_s += max(0.0, now_s - last_s) if last_s >= 0 else 0.0
            last_s = now_s
            if moved_s > 0.3 and not page.evaluate("window.__melodeon.audio.paused"):
                return
            page.wait_for_timeout(100)
        raise AssertionError(f"the music does not move forward from {last_s} s")

    def account(self) -> Account:
        """The account in the database."""
        with self.stack.services.database.transaction() as session:
            account = accounts.by_name(session, self.name)
        assert account is not None
        return account

    def credits(self) -> tuple[int, int]:
        """Available and held credits in the database."""
        account = self.account()
        with self.stack.services.database.transaction() as session:
            balance = ledger.balance(session, account.id)
        return balance.available_credits, balance.held_credits


MakePerson = Callable[..., Person]


@pytest.fixture(scope="module")
def tiny_product(products: Products, tiny_weights: Path) -> Stack:
    """The product on tiny models instead of the built-in engines, with pretended payments."""
    profile = Path(configs.__file__).parent / "serve" / "tiny-models.yaml"
    settings = {
        "MELODEON_SERVE__CONFIG": str(profile),
        "MELODEON_MODELS__FOLDER": str(tiny_weights),
        "MELODEON_WORKER__SWEEP_S": "1",
    }
    return products.ask(settings, "--fake-stripe")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; not for longer, because while Playwright is open nothing else here may run asyncio."""
    assert Path(CHROMIUM).exists(), "The browser tests need Chromium: install the package chromium."
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def idle() -> list[BrowserContext]:
    """Browsers whose people have gone. They have forgotten everything but Streamlit's scripts, which take seconds."""
    return []


def forget(context: BrowserContext, origin: str) -> None:
    """Close every tab and remove cookies and storage; the cache of files stays."""
    for page in context.pages:
        page.close()
    blank = context.new_page()
    kinds = {"origin": origin, "storageTypes": "cookies,local_storage,indexeddb,cache_storage,service_workers"}
    context.new_cdp_session(blank).send("Storage.clearDataForOrigin", kinds)
    blank.close()
    context.clear_cookies()


@pytest.fixture
def person(stack: Stack, browser: Browser, idle: list[BrowserContext]) -> Iterator[MakePerson]:
    """Makes people: each has a browser of their own and, unless told otherwise, a fresh account."""
    contexts: list[BrowserContext] = []

    def make(name: str | None = None, *, arrive: bool = True) -> Person:
        context = idle.pop() if idle else browser.new_context(viewport=SCREEN, color_scheme="dark")
        contexts.append(context)
        somebody = Person(stack, context, name or f"person{next(_numbers)}")
        if arrive:
            somebody.arrive()
        return somebody

    yield make
    for context in contexts:
        forget(context, stack.web_url)
    idle.extend(contexts)
