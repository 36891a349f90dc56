"""Pretended payments: the fake Stripe as a part, and how the other parts and commands find it."""

import os
import socket
import time
from pathlib import Path

import pytest

from billing import plans
from billing.payments import open_payments
from billing.stripe_records import CheckoutMode
from configs.addresses import Running, attach, pretended_keys, pretended_stripe_port, write_running
from configs.secrets import load_or_create
from configs.settings import Settings, StripeSettings, load
from data.database import Database
from data.embedded_postgres import free_port
from serving.pretended import PaymentsAreReal, pretended_part, with_pretended_payments
from serving.stack import child_environment, with_free_ports


@pytest.fixture
def pretended(tmp_path: Path) -> Settings:
    """Settings with pretended payments on a port that is free."""
    settings = with_pretended_payments(load(var=tmp_path))
    url = f"http://127.0.0.1:{free_port()}"
    return settings.model_copy(update={"stripe": settings.stripe.model_copy(update={"base_url": url})})


def test_real_payments_are_never_pretended(tmp_path: Path) -> None:
    stripe = StripeSettings(api_key="sk_live_1", webhook_secrets=("whsec_1",))
    settings = load(var=tmp_path).model_copy(update={"stripe": stripe})
    with pytest.raises(PaymentsAreReal, match="--fake-stripe"):
        with_pretended_payments(settings)
    assert pretended_stripe_port(settings) is None
    assert not [name for name in child_environment(settings) if "STRIPE" in name]


def test_keys_are_an_installations_own_and_closed_to_others(tmp_path: Path) -> None:
    first, again = (with_pretended_payments(load(var=tmp_path / "a")).stripe for _ in range(2))
    other = with_pretended_payments(load(var=tmp_path / "b")).stripe
    assert first == again
    assert first.api_key != other.api_key
    assert pretended_keys(tmp_path / "a").stat().st_mode & 0o077 == 0


def test_a_taken_port_gives_way_to_the_next(pretended: Settings) -> None:
    port = pretended_stripe_port(pretended)
    told: list[str] = []
    with socket.create_server(("127.0.0.1", port or 0)):
        used = with_free_ports(pretended, say=told.append)
    assert port is not None
    assert (pretended_stripe_port(used) or 0) > port
    assert any(f"Port {port} (the fake Stripe) is taken" in line for line in told)


def test_children_and_commands_find_the_fake(pretended: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in child_environment(pretended).items():
        monkeypatch.setenv(name, value)
    assert load().stripe == pretended.stripe
    for name in child_environment(pretended):
        monkeypatch.delenv(name)
    running = Running(
        pid=os.getpid(),
        web_url="",
        gateway_url="",
        database_port=None,
        pretended_stripe_port=pretended_stripe_port(pretended),
    )
    write_running(pretended.var, running)
    assert attach(load(var=pretended.var)).stripe == pretended.stripe


def test_the_part_knows_our_prices_and_remembers_over_a_restart(pretended: Settings, database: Database) -> None:
    part = pretended_part(pretended, load_or_create(pretended.var))
    payments = open_payments(pretended.stripe, database)
    assert payments is not None

    def run() -> None:
        part.start()
        ends = time.monotonic() + 60
        while not part.ready():
            assert part.running(), part.last_words()
            assert time.monotonic() < ends
            time.sleep(0.1)

    try:
        run()
        assert payments.sync_prices() == 0
        customer = payments.door.create_customer("acc_1", "ada", "")
        part.stop()
        run()
        for item in plans.items():
            mode = CheckoutMode.PAYMENT if isinstance(item, plans.Pack) else CheckoutMode.SUBSCRIPTION
            checkout = payments.door.checkout(
                lookup_key=item.lookup_key,
                mode=mode,
                customer=customer,
                account_id="acc_1",
                success_url="http://127.0.0.1/ok",
                cancel_url="http://127.0.0.1/no",
                key=item.name,
            )
            seen = payments.door.checkout_session(checkout.id)
            assert (seen.amount_minor, seen.currency) == (item.amount_minor, item.currency)
    finally:
        part.stop()
