"""Identities at other providers open their own account, and never somebody else's."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from billing import ledger
from data.repositories import accounts, audit, identities, sessions
from data.repositories.accounts import checked_name
from serving.account_identities import (
    IDENTITIES_MAX,
    IdentityRefused,
    _name_like,
    account_for_identity,
    link_identity,
    unlink_identity,
)
from serving.account_proofs import verify_email
from serving.accounts import WrongPassword, set_role, sign_in, sign_up
from studio.words.account import Account, Role

ISS = "https://id.example.org"
NOW = datetime.now(UTC)
PASSWORD = "correct horse battery"


def come(database, sub: str = "1", **more) -> Account:
    given = {
        "email": "ada@example.org",
        "email_verified": True,
        "name": "Ada Lovelace",
        "now": NOW,
        "signup_credits": 9,
    }
    with database.transaction() as session:
        return account_for_identity(session, more.pop("iss", ISS), sub, **(given | more))


@pytest.fixture
def ada(database, letters) -> Account:
    """Has an account with a password, and has proved ada@example.org."""
    with database.transaction() as session:
        sign_up(session, name="ada", email="ada@example.org", password=PASSWORD, signup_credits=0, now=NOW)
    return verify_email(database, letters.token())


def test_a_new_identity_makes_an_account_and_comes_back_to_it(database) -> None:
    made = come(database)
    assert (made.name, made.email, made.email_verified) == ("Ada_Lovelace", "ada@example.org", True)
    with database.transaction() as session:
        assert ledger.balance(session, made.id).available_credits == 9
        assert audit.latest(session, subject=made.id)[0].action == "account_made"
    assert come(database, email="moved@example.org", name="Another") == made
    with pytest.raises(WrongPassword):
        sign_in(database, made.name, "")


def test_an_address_that_the_provider_did_not_check_is_not_kept(database) -> None:
    made = come(database, email_verified=False)
    assert (made.email, made.email_verified) == ("", False)


def test_an_account_that_exists_is_never_taken_over(ada, database) -> None:
    for verified in (True, False):
        if verified:
            with pytest.raises(IdentityRefused, match="account with this e-mail address"):
                come(database, "stranger")
        else:
            assert come(database, "stranger", email_verified=False).id != ada.id
    assert come(database, "third", email="", name="ada").name == "ada-2"


def test_an_address_that_somebody_only_wrote_down_keeps_nobody_out(database) -> None:
    with database.transaction() as session:
        squatter = accounts.create(session, name="squatter", email="ada@example.org", password_hash=None)
    made = come(database)
    assert made.id != squatter.id
    assert made.email == "ada@example.org"


def test_whoever_is_signed_in_may_link_an_identity_that_is_nobody_s(ada, make_account, database) -> None:
    with database.transaction() as session:
        link_identity(session, ada, ISS, "7")
        link_identity(session, ada, ISS, "7")
    assert come(database, "7").id == ada.id
    with pytest.raises(IdentityRefused, match="another account"), database.transaction() as session:
        link_identity(session, make_account("eve"), ISS, "7")
    with database.transaction() as session:
        unlink_identity(session, ada, ISS, "7")
        unlink_identity(session, ada, ISS, "7")
        assert identities.list_of(session, ada.id) == ()
        assert [note.action for note in audit.latest(session, subject=ada.id)].count("identity_unlinked") == 1


def test_the_only_way_in_is_never_taken_away_not_even_by_two_at_once(database) -> None:
    made = come(database)
    with database.transaction() as session:
        link_identity(session, made, ISS, "2")
    start = threading.Barrier(2)

    def unlink(sub: str) -> bool:
        start.wait()
        try:
            with database.transaction() as session:
                unlink_identity(session, made, ISS, sub)
        except IdentityRefused:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(unlink, ("1", "2"))) == [False, True]
    with database.transaction() as session:
        assert len(identities.list_of(session, made.id)) == 1


def test_issuer_and_subject_decide_together(database) -> None:
    first = come(database)
    other = come(database, iss="https://evil.example", email="", name="ada")
    assert other.id != first.id


@pytest.mark.parametrize(("iss", "sub"), [("", "1"), (ISS, ""), (ISS, "x" * 2000)])
def test_who_is_not_named_is_nobody(database, iss, sub) -> None:
    with pytest.raises(IdentityRefused):
        come(database, sub, iss=iss)


def test_an_identity_of_before_signing_out_everywhere_is_stale(database) -> None:
    made = come(database)
    with database.transaction() as session:
        sessions.revoke_all(session, made.id)
    with pytest.raises(IdentityRefused, match="sign in again"):
        come(database, issued_at=NOW - timedelta(minutes=5))
    assert come(database, issued_at=datetime.now(UTC) + timedelta(seconds=5)).id == made.id


def test_one_identity_coming_many_times_at_once_has_one_account(database) -> None:
    start = threading.Barrier(6)

    def come_together(_: int) -> str:
        start.wait()
        try:
            return come(database).id
        except IdentityRefused:
            return ""

    with ThreadPoolExecutor(6) as pool:
        found = set(pool.map(come_together, range(6))) - {""}
    assert found == {come(database).id}


@given(st.text(max_size=60))
def test_whatever_somebody_is_called_a_name_is_found(name: str) -> None:
    assert checked_name(_name_like(name)) == _name_like(name)


def test_a_deleted_account_is_not_opened_again(database) -> None:

    made = come(database)
    with database.transaction() as session:
        session.execute(text("UPDATE account SET deleted_at = now(), email = ''"))
    with pytest.raises(IdentityRefused):
        come(database)
    assert made.id


def test_roles_are_given_with_a_note_and_the_last_admin_stays(make_account, database) -> None:
    admin, bob = make_account("admin"), make_account("bob")
    with database.transaction() as session:
        assert set_role(session, admin.id, bob, Role.MODERATOR).role is Role.MODERATOR
        with pytest.raises(accounts.LastAdmin):
            set_role(session, admin.id, admin, Role.CREATOR)
        notes = audit.latest(session)
    assert [(note.actor, note.action, note.subject, note.detail) for note in notes] == [
        (admin.id, "role_set", bob.id, "creator to moderator")
    ]


def test_two_admins_cannot_demote_each_other_at_once(make_account, database) -> None:
    people = [make_account("admin"), make_account("bob")]
    with database.transaction() as session:
        people[1] = set_role(session, people[0].id, people[1], Role.ADMIN)
    start = threading.Barrier(2)

    def demote(person: Account) -> bool:
        with database.transaction() as session:
            start.wait()
            try:
                set_role(session, "operator", person, Role.CREATOR)
            except accounts.LastAdmin:
                return False
            return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(demote, people)) == [False, True]


@pytest.mark.parametrize("statement", ["UPDATE audit SET detail = ''", "DELETE FROM audit", "TRUNCATE audit"])
def test_the_audit_log_is_never_changed(account, database, statement) -> None:

    with database.transaction() as session:
        audit.note(session, audit.OPERATOR, "tried", account.id)
    with pytest.raises(ProgrammingError, match="never changed"), database.transaction() as session:
        session.execute(text(statement))
    with database.transaction() as session:
        assert len(audit.latest(session)) == 1


def test_an_account_has_no_more_other_ways_in_than_it_may_even_when_linked_at_once(ada, database) -> None:
    with database.transaction() as session:
        for number in range(IDENTITIES_MAX - 1):
            link_identity(session, ada, ISS, f"n{number}")
    start = threading.Barrier(4)

    def link(number: int) -> str:
        start.wait()
        try:
            with database.transaction() as session:
                link_identity(session, ada, ISS, f"late{number}")
        except IdentityRefused as error:
            return error.sentence
        return ""

    with ThreadPoolExecutor(4) as pool:
        answers = sorted(pool.map(link, range(4)))
    assert answers[0] == ""
    assert set(answers[1:]) == {"An account has at most 10 other ways to sign in. Unlink one that you no longer need."}
    with database.transaction() as session:
        assert len(identities.list_of(session, ada.id)) == IDENTITIES_MAX
        # one that is linked already stays, and may be linked again
        link_identity(session, ada, ISS, "n0")
