"""``melodeon billing`` as a person and as a program read it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from billing import inbox
from billing.payments import Payments, PaymentsOff
from billing.stripe_door import StripeDoor
from billing.stripe_records import EventRecord
from billing.testing import FakeStripe, VirtualClock
from configs.settings import settings
from data.database import Database
from studio.words.account import Account
from ui.cli.billing import BooksDiffer, NoDeadLetter, billing


@pytest.fixture
def installation(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The commands' settings name the test's database."""
    monkeypatch.setenv("MELODEON_VAR", str(tmp_path))
    monkeypatch.setenv("MELODEON_DATABASE__URL", database.conninfo)
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def stripe(installation: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeStripe]:
    """A Stripe that the installation uses."""
    with FakeStripe(VirtualClock(datetime.now(UTC))) as fake:
        monkeypatch.setenv("MELODEON_STRIPE__API_KEY", fake.api_key)
        monkeypatch.setenv("MELODEON_STRIPE__WEBHOOK_SECRETS", json.dumps([fake.webhook_secret]))
        monkeypatch.setenv("MELODEON_STRIPE__BASE_URL", fake.url)
        settings.cache_clear()
        yield fake


def call(*words: str) -> Result:
    return CliRunner().invoke(billing, words)


@pytest.mark.usefixtures("installation")
def test_without_a_key_it_says_that_payments_are_off() -> None:
    for words in (("reconcile",), ("prices", "--sync")):
        assert isinstance(call(*words).exception, PaymentsOff)


def test_prices_are_written_once(stripe: FakeStripe) -> None:
    assert call("prices", "--sync").output == "8 prices were made or changed at Stripe.\n"
    assert call("prices", "--sync").output == "Stripe has every price already.\n"
    assert call("prices").exit_code == 2


def test_what_differs_is_said_then_healed(stripe: FakeStripe, database: Database, account: Account) -> None:
    call("prices", "--sync")
    door = StripeDoor(stripe.api_key, (stripe.webhook_secret,), stripe.url)
    wish = {"key": "1", "success_url": "https://a.example.org", "cancel_url": "https://a.example.org"}
    Payments(door, database).start_checkout(account, "usd_10", now=datetime.now(UTC), **wish)
    door.close()
    session_id = stripe.pay(stripe.all("checkout.session")[0]["id"])["id"]

    event_id = stripe.all("event")[-1]["id"]
    answer = call("reconcile", "--check")
    assert isinstance(answer.exception, BooksDiffer)
    assert answer.output.splitlines() == [
        f"event not heard: {event_id} (checkout.session.completed)",
        f"paid, not granted: {session_id}",
    ]
    told = json.loads(call("reconcile", "--check", "--json").output)
    assert not told["ok"]
    assert told["differences"][1] == {"kind": "paid, not granted", "subject": session_id, "sentence": ""}
    answer = call("reconcile")
    assert (answer.exit_code, answer.output) == (0, "The books and Stripe agree.\n")
    assert json.loads(call("reconcile", "--check", "--json").output) == {"ok": True, "differences": []}


@pytest.mark.usefixtures("installation")
def test_messages_given_up_are_listed_and_replayed(database: Database) -> None:
    assert call("dead").output == "No message was given up.\n"
    for number in (1, 2):
        now = datetime.now(UTC)
        event = EventRecord(id=f"evt_{number}", type="invoice.paid", object_id="in_1", created=now, livemode=False)
        inbox.receive(database, event, None, now=now)
    with database.transaction() as session:
        session.execute(text("UPDATE notice SET state = 'dead', last_error = 'It is broken.'"))
    assert call("dead").output.splitlines()[:2] == ["evt_1  invoice.paid  in_1", "    It is broken."]
    assert [each["why"] for each in json.loads(call("dead", "--json").output)["dead"]] == ["It is broken."] * 2
    assert call("replay").exit_code == call("replay", "evt_1", "--all").exit_code == 2
    assert isinstance(call("replay", "evt_7").exception, NoDeadLetter)
    assert call("replay", "evt_1").output == "1 message will be handled again.\n"
    assert call("replay", "--all").output == "1 message will be handled again.\n"
    assert call("dead").output == "No message was given up.\n"
