"""Every page × six kinds of people: who finds it in the menu, what it shows to whom; a new page needs a row.

How to add a page: one `Row` with the name of its file, who has it in the menu, and what it shows to each of `ROLES`:
"open", "gate" (the sign-in forms) or "refused" (an error sentence). ``query`` fills in what stands in its address.
Followers have no rows in the database yet, so theirs is the column of the other.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from sqlalchemy import text
from streamlit.testing.v1 import AppTest

from configs.settings import settings
from data.database import Database
from data.repositories import sessions
from studio.words.account import Account, Role
from studio.words.brief import Brief
from ui import state, wiring
from ui.widgets import map as pages_map

ROLES = ("anonymous", "other", "follower", "owner", "moderator", "admin")
EVERYBODY = frozenset(ROLES)
MEMBERS = EVERYBODY - {"anonymous"}
NOBODY: frozenset[str] = frozenset()
GATE = "Make music that is yours"

OPEN = ("open",) * 6
BEHIND_THE_GATE = ("gate", *("open",) * 5)


@dataclass(frozen=True)
class Row:
    """Who has a page in the menu, and what it shows to whom."""

    page: str
    menu: frozenset[str]
    shows: tuple[str, ...]
    query: dict[str, str] = field(default_factory=dict)

    def shown_to(self, who: str) -> str:
        return self.shows[ROLES.index(who)]


ROWS = [
    Row("discover", EVERYBODY, OPEN),
    Row("create", EVERYBODY, BEHIND_THE_GATE),
    Row("library", MEMBERS, BEHIND_THE_GATE),
    Row("account", MEMBERS, BEHIND_THE_GATE),
    Row("upgrade", EVERYBODY, OPEN),
    Row("statement", NOBODY, BEHIND_THE_GATE),
    Row("billing_cancel", NOBODY, OPEN),
    # whoever began no such checkout is not told whether anybody did
    Row("billing_success", NOBODY, ("gate", *("refused",) * 5), {"session": "cs_1"}),
    Row("song", NOBODY, ("refused", "refused", "refused", "open", "open", "open"), {"id": "{private}"}),
    Row("song", NOBODY, ("refused",) * 6, {"id": "song_" + "0" * 32}),
    Row("admin", frozenset({"admin"}), ("gate", *("refused",) * 4, "open")),
    # what the links of letters lead to, wherever they are opened
    Row("verify", NOBODY, OPEN),
    Row("reset", NOBODY, OPEN),
    # whoever is signed in is led on to the create page
    Row("sign_in", NOBODY, BEHIND_THE_GATE),
]

People = dict[str, Account | None]


@pytest.fixture
def people(database: Database, make_account: Callable[..., Account]) -> People:
    """One of each; the first account is the admin."""
    found = {who: make_account(who) for who in ("admin", "owner", "other", "follower", "moderator")}
    with database.transaction() as session:
        session.execute(text("UPDATE account SET role = 'moderator' WHERE name = 'moderator'"))
    return {"anonymous": None, **found, "moderator": replace(found["moderator"], role=Role.MODERATOR)}


def the_map(account: Account | None) -> dict[str, str]:
    """Whether each page is visible in this person's menu. Pages know their files only inside a running script."""

    def script(account) -> None:
        import streamlit as st

        from ui.widgets.map import pages

        st.session_state["map"] = {page._page.stem: page.visibility for page in pages(account)}

    return AppTest.from_function(script, kwargs={"account": account}).run().session_state["map"]


def test_every_page_has_a_row_and_a_place_in_the_menu_of_those_it_is_for(people: People) -> None:
    files = {path.stem for path in Path(pages_map.DISCOVER).parent.glob("[!_]*.py")}
    assert files == {row.page for row in ROWS}
    for who, account in people.items():
        found = the_map(account)
        assert set(found) == files, who
        menu = {page for page, visibility in found.items() if visibility == "visible"}
        assert menu == {row.page for row in ROWS if who in row.menu}, who


@pytest.fixture
def product(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """The pages of this process, wired to the database of the test."""
    monkeypatch.setenv("MELODEON_VAR", str(tmp_path))
    monkeypatch.setenv("MELODEON_DATABASE__URL", database.conninfo)
    settings.cache_clear()
    wiring.services.cache_clear()
    yield database
    wiring.services().database.dispose()
    wiring.services.cache_clear()
    settings.cache_clear()


def tab_of(database: Database, account: Account | None) -> AppTest:
    """The entry script in a tab where this person has signed in."""
    tab = AppTest.from_file(str(Path(pages_map.SYMBOL).parents[1] / "app.py"), default_timeout=180)
    tab.session_state["signed_in"] = None
    if account is not None:
        with database.transaction() as session:
            begun = sessions.begin(session, account.id, days=1)
        tab.session_state["signed_in"] = state.SignedIn(account_id=account.id, session_id=begun.session_id)
    tab.run()
    return tab


def seen_on(tab: AppTest) -> str:
    assert not tab.exception, tab.exception
    if GATE in [title.value for title in tab.title]:
        return "gate"
    return "refused" if tab.error else "open"


@pytest.mark.parametrize("who", ROLES)
def test_a_page_shows_everybody_what_is_theirs_and_nothing_else(who: str, product: Database, people: People) -> None:
    private = wiring.services().ask(people["owner"], Brief(description="only mine"), key="1").song_ids[0]
    tab = tab_of(product, people[who])
    wrong = []
    for row in ROWS:
        tab.query_params.clear()
        for name, value in row.query.items():
            tab.query_params[name] = value.format(private=private)
        tab.switch_page(f"../pages/{row.page}.py").run()
        if (seen := seen_on(tab)) != row.shown_to(who):
            wrong.append(f"{row.page} {row.query} shows {who} {seen}, not {row.shown_to(who)}")
        if who != "owner" and "only mine" in str(tab.main):
            wrong.append(f"{row.page} tells {who} what the owner typed")
    assert wrong == []
