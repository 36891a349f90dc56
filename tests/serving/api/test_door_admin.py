"""Administrators at the doors: ending every session and key of somebody, written down, and nobody else can."""

import pytest
from sqlalchemy import text

from data.repositories import api_keys, audit
from studio.words.api_key import Scope


@pytest.fixture
def people(make_account):
    """The admin, who is the first account, and two others."""
    return make_account("root"), make_account("ada"), make_account("eve")


def key_of(database, account) -> str:
    with database.transaction() as session:
        return api_keys.make(session, account.id, "script", [Scope.READ])[1]


def notes_about(database, account) -> list[tuple[str, str]]:
    with database.transaction() as session:
        return [(note.actor, note.action) for note in audit.latest(session, subject=account.id)]


def test_an_administrator_ends_every_session_and_key_of_an_account(people, database, signed_in) -> None:
    root, ada, eve = people
    admin, first, second, other = (signed_in(one) for one in (root, ada, ada, eve))
    secret = key_of(database, ada)
    assert admin.delete(f"/admin/accounts/{ada.id}/sessions").status_code == 204
    assert [browser.get("/auth/me").status_code for browser in (admin, first, second, other)] == [200, 401, 401, 200]
    with database.transaction() as session:
        assert api_keys.of_secret(session, secret) is None
    assert notes_about(database, ada)[:2] == [(root.id, "signed_out_everywhere"), (root.id, "key_revoked")]


@pytest.mark.parametrize("role", ["creator", "analyst", "engineer", "moderator"])
def test_nobody_else_ends_anything_or_learns_who_exists(people, database, signed_in, role) -> None:
    _, ada, eve = people
    with database.transaction() as session:
        session.execute(text("UPDATE account SET role = :role WHERE id = :id"), {"role": role, "id": eve.id})
    browser, victim = signed_in(eve), signed_in(ada)
    answers = [
        browser.delete(f"/admin/accounts/{account_id}/sessions")
        for account_id in (ada.id, "acc_" + "0" * 32, "x", eve.id)
    ]
    assert {(answer.status_code, answer.text) for answer in answers} == {(404, answers[0].text)}
    assert victim.get("/auth/me").status_code == 200
    assert notes_about(database, ada) == []


def test_no_key_opens_the_doors_of_administrators(people, database, address, signed_in) -> None:
    root, ada, _ = people
    with database.transaction() as session:
        _, secret = api_keys.make(session, root.id, "all", set(Scope))
    answer = signed_in(None).delete(f"/admin/accounts/{ada.id}/sessions", headers={"Authorization": f"Bearer {secret}"})
    assert (answer.status_code, answer.json()["error"]) == (403, "key_refused")
