"""A storm of payments: every one gives its credits exactly once, though messages come twice, late, in any order."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from billing import reconcile
from billing.testing import Trouble

PEOPLE = 20


def storm(shop, payments: int, *, workers: int) -> None:
    """So many payments of 20 people, heard through all the trouble of webhooks; a tenth of the wishes is unpaid."""
    people = [shop.somebody() for _ in range(PEOPLE)]
    shop.stripe.webhooks.trouble = Trouble(duplicates=0.3, reorder=0.3, loss=0.1, delay_s=600.0)
    paid = dict.fromkeys(range(PEOPLE), 0)
    for number in range(payments * 10 // 9):
        session_id = shop.begin(people[number % PEOPLE])
        if number % 10 == 9:
            continue  # looked, and left
        shop.stripe.pay(session_id)
        paid[number % PEOPLE] += 1
        if number % 7 == 0:
            shop.payments.fulfil(session_id, now=shop.clock.now())
        if number % 50 == 49:
            shop.clock.advance(seconds=30)
            shop.work_off()
    shop.clock.advance(days=3)
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda _: shop.work_off(), range(workers)))
    for number, person in enumerate(people):
        assert shop.credits(person) == (10 * paid[number], 0)
    assert shop.value("SELECT count(*) FROM transfer WHERE kind = 'grant'") == sum(paid.values()) == payments
    assert set(shop.notices()) == {"handled"}
    assert shop.stripe.webhooks.sent > 1.2 * len(shop.stripe.all("event")) > payments
    assert reconcile.heal(shop.desk) == ()
    shop.agrees_with_stripe()


def test_200_payments_in_a_storm_are_200_grants(shop, endpoint) -> None:
    storm(shop, 200, workers=4)


@pytest.mark.long
def test_10_000_payments_in_a_storm_are_10_000_grants(shop, endpoint) -> None:
    storm(shop, 10_000, workers=8)
