"""Invoices of subscriptions, line by line: what is paid is given once, what cannot be given is an alarm."""

from dataclasses import replace

import pytest
from sqlalchemy import text

from billing import reversals, standing_orders
from billing.fulfilment import UnknownBuyer, UnknownPrice
from billing.stripe_records import InvoiceRecord
from studio.words.account import Account
from studio.words.purchase import PurchaseState


@pytest.fixture
def month(shop) -> tuple[Account, InvoiceRecord]:
    """Somebody, and the paid invoice of their first month, of which nothing was heard here."""
    ada = shop.somebody()
    bought = shop.door.checkout_session(shop.buy(ada, "pro"))
    return ada, shop.door.invoice(bought.invoice)


def book(shop, invoice: InvoiceRecord) -> int:
    with shop.database.transaction() as session:
        return standing_orders.book_invoice(session, invoice, now=shop.clock.now())


def with_second_line(invoice: InvoiceRecord, **changes) -> InvoiceRecord:
    (line,) = invoice.lines
    return replace(invoice, lines=(line, replace(line, id="il_second", **changes)))


def test_only_a_paid_invoice_of_a_subscription_brings_credits(shop, month) -> None:
    ada, invoice = month
    for status in ("draft", "open", "uncollectible", "void"):
        assert book(shop, replace(invoice, status=status)) == 0
    assert book(shop, replace(invoice, subscription=None)) == 0
    assert shop.credits(ada) == (0, 0)
    assert book(shop, invoice) == 100


def test_every_line_is_given_once_with_its_quantity(shop, month) -> None:
    ada, invoice = month
    both = with_second_line(invoice, quantity=2)
    assert (book(shop, invoice), book(shop, both), book(shop, both)) == (100, 200, 0)
    assert shop.credits(ada) == (300, 0)
    shop.books_hold()


def test_credits_of_a_month_last_until_it_ends(shop, month) -> None:
    _, invoice = month
    book(shop, invoice)
    with shop.database.transaction() as session:
        (block,) = session.execute(text("SELECT kind, expires_at, cost_minor, currency::text FROM grant_block"))
    assert tuple(block) == ("plan", invoice.lines[0].period_end, 1499, "usd")


def test_a_months_purchase_knows_its_payment_and_invoice(shop, month) -> None:
    _, invoice = month
    book(shop, invoice)
    purchase = shop.purchase(f"{invoice.id}:{invoice.lines[0].id}")
    assert (purchase.state, purchase.amount_minor, purchase.currency) == (PurchaseState.PAID, 1499, "usd")
    assert (purchase.payment_intent, purchase.invoice) == (invoice.payment_intent, invoice.id)
    assert invoice.payment_intent


@pytest.mark.parametrize("lookup_key", ["", "plan_gold_monthly", "pack_usd_10"])
def test_a_line_at_an_unknown_price_is_an_alarm_and_books_nothing(shop, month, lookup_key) -> None:
    ada, invoice = month
    with pytest.raises(UnknownPrice, match=f"A line of the invoice {invoice.id} was paid at the price price_gold"):
        book(shop, with_second_line(invoice, lookup_key=lookup_key, price_id="price_gold"))
    assert shop.credits(ada) == (0, 0)


def test_an_invoice_of_nobody_we_know_is_an_alarm(shop, month) -> None:
    _, invoice = month
    for customer in ("cus_nobody", None):
        with pytest.raises(UnknownBuyer, match=f"The invoice {invoice.id}"):
            book(shop, replace(invoice, customer=customer))
    free = replace(invoice, customer="cus_nobody", lines=(replace(invoice.lines[0], amount_minor=0),))
    assert book(shop, free) == 0


def test_a_subscription_at_an_unknown_price_is_an_alarm(shop, month) -> None:
    ada, invoice = month
    seen = standing_orders.read(shop.database, shop.door, invoice.subscription)
    gold = replace(seen, record=replace(seen.record, lookup_key="", price_id="price_gold"))
    with pytest.raises(UnknownPrice, match="price_gold"), shop.database.transaction() as session:
        standing_orders.book(session, gold, now=shop.clock.now())
    assert (shop.plan(ada), shop.value("SELECT count(*) FROM subscription")) == ("free", 0)
    over = replace(gold, record=replace(gold.record, status="canceled"))
    with shop.database.transaction() as session:
        standing_orders.book(session, over, now=shop.clock.now())
    assert shop.value("SELECT status FROM subscription") == "canceled"


def test_a_refund_takes_of_everything_that_the_charge_had_paid(shop, month) -> None:
    ada, invoice = month
    assert book(shop, with_second_line(invoice)) == 200
    charge = shop.door.charge(shop.stripe.charge_of(invoice.payment_intent)["id"])
    for refunded_minor, left in ((750, 100), (749, 0)):
        shop.stripe.refund(charge.id, refunded_minor)
        backs = reversals.read_charge(shop.database, shop.door, charge.id)
        with shop.database.transaction() as session:
            reversals.book(session, backs, now=shop.clock.now())
        assert shop.credits(ada) == (left, 0)
    shop.books_hold()
