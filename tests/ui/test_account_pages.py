"""The account pages as scripts: what they draw for whom, and what a press does; on a real database."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from billing import ledger
from configs.settings import OidcProvider
from data.passwords import hash_password
from data.repositories import accounts, api_keys, audit, identities, second_factors, sessions, verifications
from serving.accounts import expect_email
from serving.api.services import Services
from studio.words.account import Account, Role
from studio.words.api_key import Scope
from studio.words.ids import AccountId
from studio.words.letter import TokenPurpose
from ui import state
from ui.widgets.account_security import qr_svg
from ui.widgets.avatar import avatar_svg
from ui.widgets.people import ACTIONS, ROLES, plan_text

PAGES = Path(__file__).parents[2] / "ui" / "pages"
NOW = datetime(2026, 11, 20, tzinfo=UTC)
PASSWORD, NEW = "correct horse battery", "another horse entirely"


@pytest.fixture
def ada(wired: Services) -> Account:
    """The first account, so the admin, with a password."""
    return someone(wired, "ada")


def someone(services: Services, name: str) -> Account:
    with services.database.transaction() as session:
        account = accounts.create(session, name=name, password_hash=hash_password(PASSWORD))
        ledger.open_with_signup_grant(session, account.id, amount=100, now=services.now())
    return account


def again(services: Services, account: Account) -> Account:
    with services.database.transaction() as session:
        found = accounts.by_id(session, account.id)
    assert found is not None
    return found


def open_page(services: Services, name: str, account: Account | None, **query: str) -> AppTest:
    """The page as the entry script would run it for this person."""
    page = AppTest.from_file(str(PAGES / f"{name}.py"), default_timeout=180)
    if account is not None:
        with services.database.transaction() as session:
            begun = sessions.begin(session, account.id, days=1)
        page.session_state["account"] = account
        page.session_state["signed_in"] = state.SignedIn(account_id=account.id, session_id=begun.session_id)
    for key, value in query.items():
        page.query_params[key] = value
    return page.run()


def field(page: AppTest, label: str):
    return next(found for found in page.text_input if found.label == label)


def button(page: AppTest, label: str):
    return next(found for found in page.button if found.label == label)


def said(page: AppTest) -> str:
    everything = [*page.error, *page.success, *page.info, *page.caption, *page.markdown, *page.text, *page.title]
    return "\n".join(str(found.value) for found in everything)


@pytest.mark.parametrize("tab", ["Profile", "Security", "API keys", "Your data"])
def test_every_tab_draws_itself(wired: Services, ada: Account, tab: str) -> None:
    page = open_page(wired, "account", ada, tab=tab)
    assert not page.exception
    assert not page.error


def test_an_address_waits_until_its_link_is_followed_and_then_counts(wired: Services, ada: Account) -> None:
    with wired.database.transaction() as session:
        expect_email(session, ada, "ada@example.org")
        token = verifications.issue(session, ada.id, TokenPurpose.VERIFY, "ada@example.org")
    assert "ada@example.org" in said(open_page(wired, "account", ada, tab="Profile"))
    page = open_page(wired, "verify", ada, token=str(token))
    assert again(wired, ada).email == ""
    button(page, "Confirm this address").click().run()
    assert (again(wired, ada).email, again(wired, ada).email_verified) == ("ada@example.org", True)
    used = open_page(wired, "verify", ada, token=str(token))
    button(used, "Confirm this address").click().run()
    assert "does not work any more" in used.error[0].value


def test_a_reset_by_link_sets_the_password_and_one_mistyped_does_not(wired: Services, ada: Account) -> None:
    with wired.database.transaction() as session:
        accounts.set_proved_email(session, ada.id, "ada@example.org")
        verifications.expect(session, ada.id, TokenPurpose.RESET, "ada@example.org")
        token = verifications.issue(session, ada.id, TokenPurpose.RESET, "ada@example.org")
    page = open_page(wired, "reset", None, token=str(token))
    field(page, "New password").set_value("another fine phrase")
    field(page, "New password again").set_value("another fine phrases")
    button(page, "Set this password").click().run()
    assert "differ" in page.error[0].value
    field(page, "New password").set_value("another fine phrase")
    field(page, "New password again").set_value("another fine phrase")
    button(page, "Set this password").click().run()
    assert not page.error
    with wired.database.transaction() as session:
        assert sessions.list_of(session, ada.id) == ()


@pytest.mark.parametrize("email", ["ada@example.org", "nobody@example.org"])
def test_asking_for_a_reset_says_the_same_to_everybody(wired: Services, ada: Account, email: str) -> None:
    with wired.database.transaction() as session:
        accounts.set_proved_email(session, ada.id, "ada@example.org")
    page = open_page(wired, "reset", None)
    field(page, "E-mail").set_value(email)
    button(page, "Send me a link").click().run()
    assert page.success[0].value.startswith("If there is an account with this address")


def test_the_second_step_is_set_up_with_the_password_a_code_and_recovery_codes(wired: Services, ada: Account) -> None:
    page = open_page(wired, "account", ada, tab="Security")
    field(page, "Your password").set_value("wrong password")
    button(page, "Set it up").click().run()
    assert "wrong" in page.error[0].value
    field(page, "Your password").set_value(PASSWORD)
    button(page, "Set it up").click().run()
    secret = page.code[0].value
    field(page, "Code from the app").set_value("000000")
    button(page, "Switch it on").click().run()
    assert page.error
    field(page, "Code from the app").set_value(pyotp.TOTP(secret).now())
    button(page, "Switch it on").click().run()
    assert len(page.code[0].value.split()) == 10
    button(page, "I have kept them").click().run()
    assert not page.code
    with wired.database.transaction() as session:
        assert second_factors.is_on(session, ada.id)


def test_whoever_owes_a_code_is_asked_for_it_and_may_go_back(wired: Services, ada: Account) -> None:
    with wired.database.transaction() as session:
        second_factors.begin(session, ada.id, pyotp.random_base32(32), wired.box)
        second_factors.confirm(session, ada.id, ("aaaa-bbbb-cccc",))
    page = AppTest.from_file(str(PAGES / "sign_in.py"), default_timeout=180)
    page.session_state["code_step"] = state.CodeStep(login="ada", password=PASSWORD)
    field(page.run(), "Code").set_value("123456")
    button(page, "Sign in").click().run()
    assert "This code is wrong" in page.error[0].value
    assert "signed_in" not in page.session_state
    button(page, "Back").click().run()
    assert "Welcome back" in [heading.value for heading in page.subheader]


def test_whoever_has_no_password_keeps_their_only_way_in(wired: Services, ada: Account) -> None:
    with wired.database.transaction() as session:
        guest = accounts.create(session, name="guest", password_hash=None)
        identities.link(session, guest.id, "https://id.example.org", "42")
    widgets = AppTest.from_function(_other_ways, args=(wired, guest), default_timeout=180).run()
    assert "https://id.example.org" in said(widgets)
    assert "Unlink" not in [found.label for found in widgets.button]
    with wired.database.transaction() as session:
        identities.link(session, guest.id, "https://other.example.org", "42")
    button(widgets.run(), "Unlink").click().run()
    with wired.database.transaction() as session:
        assert len(identities.list_of(session, guest.id)) == 1
    page = open_page(wired, "account", guest, tab="Security")
    assert "you have no password here" in said(page)


def test_a_provider_is_called_by_its_label_and_one_that_left_by_its_address(wired: Services, ada: Account) -> None:
    about = {"name": "home", "label": "the [home] provider", "client_id": "melodeon", "client_secret": "secret"}
    place = "https://id.example.org/realm/.well-known/openid-configuration"
    provider = OidcProvider(metadata_url=place, **about)
    services = replace(wired, settings=wired.settings.model_copy(update={"oidc": (provider,)}))
    with wired.database.transaction() as session:
        for issuer in ("https://id.example.org/realm/", "https://id.example.org", "https://left.example.org"):
            identities.link(session, ada.id, issuer, "42")
    widgets = AppTest.from_function(_other_ways, args=(services, ada), default_timeout=180).run()
    assert not widgets.exception
    called = sorted(str(line.value).splitlines()[0] for line in widgets.text)
    assert called == ["https://id.example.org", "https://left.example.org", "the [home] provider"]


def _other_ways(services, account) -> None:
    from ui.widgets.account_security import draw_other_ways

    draw_other_ways(services, account)


def test_a_key_is_shown_once_and_revoked_at_once(wired: Services, ada: Account) -> None:
    page = open_page(wired, "account", ada, tab="API keys")
    for password in ("wrong password", PASSWORD):
        assert not page.code
        field(page, "What is it for?").set_value("My [script](http://x)")
        field(page, "Your password").set_value(password)
        button(page, "Make a key").click().run()
        assert bool(page.error) == (password != PASSWORD)
    secret = page.code[0].value
    with wired.database.transaction() as session:
        opened = api_keys.of_secret(session, secret)
        assert opened is not None
        assert opened.account.id == ada.id
    button(page, "I have copied it").click().run()
    assert secret not in said(page)
    button(page, "Revoke this key").click().run()
    with wired.database.transaction() as session:
        assert api_keys.of_secret(session, secret) is None
        assert [note.action for note in audit.latest(session)][:2] == ["key_revoked", "key_made"]


def test_switching_the_second_step_off_takes_a_code_too(wired: Services, ada: Account) -> None:
    with wired.database.transaction() as session:
        second_factors.begin(session, ada.id, pyotp.random_base32(32), wired.box)
        second_factors.confirm(session, ada.id, ("aaaa-bbbb-cccc",))
    page = open_page(wired, "account", ada, tab="Security")
    for code in ("", "aaaa-bbbb-cccc"):
        field(page, "Your password").set_value(PASSWORD)
        field(page, "Code from your app, or a recovery code").set_value(code)
        button(page, "Switch it off").click().run()
        assert bool(page.error) == (not code)
    with wired.database.transaction() as session:
        assert not second_factors.is_on(session, ada.id)


@pytest.mark.parametrize("ticked", [True, False])
def test_changing_the_password_asks_what_becomes_of_the_keys(wired: Services, ada: Account, ticked: bool) -> None:
    with wired.database.transaction() as session:
        _, secret = api_keys.make(session, ada.id, "script", [Scope.READ])
    page = open_page(wired, "account", ada, tab="Security")
    for label, words in (("Present password", PASSWORD), ("New password", NEW), ("New password again", NEW)):
        field(page, label).set_value(words)
    box = next(found for found in page.checkbox if found.label == "Also revoke my API keys")
    assert box.value is False
    box.set_value(ticked)
    button(page, "Change password").click().run()
    assert not page.error
    with wired.database.transaction() as session:
        assert (api_keys.of_secret(session, secret) is None) is ticked


def test_other_sessions_end_by_the_password_and_all_of_them_at_a_press(wired: Services, ada: Account) -> None:
    with wired.database.transaction() as session:
        other = sessions.begin(session, ada.id, days=1).session_id
    page = open_page(wired, "account", ada, tab="Security")
    assert "At most 100 browsers" in said(page)
    for password in ("wrong password", PASSWORD):
        next(found for found in page.text_input if found.key == f"end_{other}_password").set_value(password)
        button(page, "End this session").click().run()
        assert bool(page.error) == (password != PASSWORD)
    with wired.database.transaction() as session:
        (here,) = sessions.list_of(session, ada.id)
        sessions.begin(session, ada.id, days=1)
    page.run()
    next(found for found in page.text_input if found.key == "elsewhere_password").set_value(PASSWORD)
    button(page, "End all other sessions").click().run()
    with wired.database.transaction() as session:
        assert [one.id for one in sessions.list_of(session, ada.id)] == [here.id]
    button(page, "Sign out everywhere").click().run()
    with wired.database.transaction() as session:
        assert sessions.list_of(session, ada.id) == ()


def test_an_administrator_signs_somebody_out_everywhere(wired: Services, ada: Account) -> None:
    bob = someone(wired, "bob")
    with wired.database.transaction() as session:
        sessions.begin(session, bob.id, days=1)
        _, secret = api_keys.make(session, bob.id, "script", [Scope.READ])
    page = open_page(wired, "admin", ada)
    next(found for found in page.button if found.key == f"end_all_{bob.id}").click().run()
    assert not page.error
    with wired.database.transaction() as session:
        assert sessions.list_of(session, bob.id) == ()
        assert len(sessions.list_of(session, ada.id)) == 1
        assert api_keys.of_secret(session, secret) is None
        (note, *_) = audit.latest(session, subject=bob.id)
    assert (note.actor, note.action) == (ada.id, "signed_out_everywhere")


def test_leaving_takes_the_name_and_the_password(wired: Services, ada: Account) -> None:
    bob = someone(wired, "bob")
    page = open_page(wired, "account", bob, tab="Your data")
    name = next(found.label for found in page.text_input if found.label.startswith("Type your name"))
    for typed, password in (("bobby", PASSWORD), ("bob", "wrong password")):
        field(page, name).set_value(typed)
        field(page, "Your password").set_value(password)
        button(page, "Delete my account for ever").click().run()
        assert page.error
        assert again(wired, bob) == bob
    field(page, name).set_value("bob")
    field(page, "Your password").set_value(PASSWORD)
    button(page, "Delete my account for ever").click().run()
    with wired.database.transaction() as session:
        assert accounts.by_id(session, bob.id) is None


def test_only_admins_see_the_administration(wired: Services, ada: Account) -> None:
    bob = someone(wired, "bob")
    refused = AppTest.from_file(str(PAGES / "admin.py"))
    refused.session_state["account"] = bob
    assert refused.run().exception[0].message.startswith("There is no such page")
    page = open_page(wired, "admin", ada)
    assert "**bob**" in said(page)
    next(found for found in page.selectbox if found.label == "Role of bob").set_value("analyst").run()
    assert again(wired, bob).role is Role.ANALYST
    with wired.database.transaction() as session:
        (note,) = audit.latest(session, subject=bob.id)
    assert (note.actor, note.action) == (ada.id, "role_set")
    page.text_input[0].set_value("%").run()
    assert "Nobody is called so." in said(page)


def test_the_last_administrator_stays_one(wired: Services, ada: Account) -> None:
    page = open_page(wired, "admin", ada)
    page.selectbox[0].set_value("creator").run()
    assert "last administrator" in page.error[0].value
    assert again(wired, ada).role is Role.ADMIN


def _menu(account) -> None:
    import streamlit

    from ui.widgets.map import pages

    for page in pages(account):
        if page.visibility == "visible":
            streamlit.text(page.title)


def test_the_menu_shows_the_administration_to_admins_only() -> None:
    shown = {}
    for role in (None, *Role):
        about = {"id": AccountId("acc_" + "0" * 32), "name": "ada", "email": "", "plan": "free", "created_at": NOW}
        menu = AppTest.from_function(_menu, args=(None if role is None else Account(role=role, **about),)).run()
        shown[role] = {str(line.value) for line in menu.text}
    assert {role for role, titles in shown.items() if "Administration" in titles} == {Role.ADMIN}
    assert {role for role, titles in shown.items() if "Account" in titles} == set(Role)


@pytest.mark.parametrize(("plan", "shown"), [("free", "Free plan"), ("pro", "Pro plan"), ("[old]", r"\[old\] plan")])
def test_a_plan_is_called_by_its_label(plan: str, shown: str) -> None:
    about = {"id": AccountId("acc_" + "0" * 32), "name": "ada", "email": "", "role": Role.CREATOR, "created_at": NOW}
    assert plan_text(Account(plan=plan, **about)) == shown


def test_every_role_has_a_name() -> None:
    assert set(ROLES) == set(Role)
    assert all(ACTIONS.values())


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=32), st.binary(max_size=40))
def test_a_picture_is_well_formed_whatever_somebody_is_called(name: str, picture: bytes) -> None:
    drawn = ET.fromstring(avatar_svg(name, picture))
    assert drawn.tag.endswith("svg")
    assert not {element.tag.rpartition("}")[2] for element in drawn.iter()} & {"script", "foreignObject", "a"}


def test_the_code_for_the_app_is_drawn_dark_on_light() -> None:
    drawn = ET.fromstring(qr_svg("otpauth://totp/Melodeon:ada?secret=JBSWY3DPEHPK3PXP&issuer=Melodeon"))
    assert drawn.tag.endswith("svg")
