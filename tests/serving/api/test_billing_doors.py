"""The doors of buying: the price list, a checkout, the portal, the way back, and who may look at which."""

import asyncio
import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI

from billing import ledger, limits, plans, standing_orders
from billing.limits import UpgradeRequired
from billing.payments import open_payments
from billing.testing import FakeStripe, WallClock
from configs.settings import StripeSettings
from data.database import Database
from data.repositories import sessions
from serving.api.answers import answer_errors
from serving.api.identity import cookie_name
from serving.api.services import Services
from studio.words.account import Account

PACK = {"item": "usd_10"}


def test_the_price_list_is_open_to_everybody_and_says_that_nothing_is_for_sale(signed_in) -> None:
    data = signed_in(None).get("/billing/prices").json()["data"]
    assert (data["for_sale"], data["pretended"], data["refund_days"]) == (False, False, 14)
    prices = {pack["name"]: (pack["credits"], pack["amount_minor"], pack["currency"]) for pack in data["packs"]}
    assert prices["usd_10"] == (10, 499, "usd")
    assert len(prices) == 7
    assert [plan["name"] for plan in data["plans"]] == ["free", "pro"]
    assert data["credits_per_use"]["song"] == 1


def test_without_a_key_nothing_can_be_bought_and_all_else_works(account, signed_in) -> None:
    browser = signed_in(account)
    for path, body in (("/billing/checkout", PACK), ("/billing/portal", None)):
        answer = browser.post(path, json=body)
        assert (answer.status_code, answer.json()["error"]) == (503, "payments_off")
        assert "Payments are off" in answer.json()["message"]
    assert browser.get("/credits").json()["data"]["available_credits"] == 100


def test_the_answer_at_a_limit_names_the_feature() -> None:
    app = FastAPI()
    answer_errors(app)

    @app.post("/projects")
    def _save() -> None:
        limits.check_projects(plans.plan("free"), 1)

    async def knock() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.post("/projects")

    answer = asyncio.run(knock())
    assert answer.status_code == 403
    sentence = UpgradeRequired(limits.Feature.MULTI_PROJECT, 1).sentence
    assert answer.json() == {
        "ok": False,
        "error": "upgrade_required",
        "message": sentence,
        "feature": "multi_project",
    }


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    """A fake Stripe that knows no prices yet."""
    with FakeStripe(WallClock()) as running:
        yield running


@pytest.fixture
def paying(services: Services, fake: FakeStripe) -> Services:
    """The services with the fake behind them, and our prices written to it."""
    stripe = StripeSettings(api_key=fake.api_key, webhook_secrets=(fake.webhook_secret,), base_url=fake.url)
    payments = open_payments(stripe, services.database)
    assert payments is not None
    payments.sync_prices()
    settings = services.settings.model_copy(update={"stripe": stripe})
    return replace(services, settings=settings, payments=payments)


@pytest.fixture
def shop(paying: Services, serve: Callable[[Services], str], database: Database) -> Iterator[Callable]:
    """Opens a browser at doors where things are for sale: ``shop(account)``."""
    address, clients = serve(paying), []

    def enter(account: Account | None) -> httpx.Client:
        client = httpx.Client(base_url=address, headers={"X-Melodeon": "1"}, timeout=60.0)
        clients.append(client)
        if account is not None:
            with database.transaction() as session:
                ticket = sessions.begin(session, account.id, days=1).ticket
                token = sessions.redeem_ticket(session, ticket, user_agent="tests")
            client.cookies.set(cookie_name(paying), token or "")
        return client

    yield enter
    for client in clients:
        client.close()


def begin(browser: httpx.Client, fake: FakeStripe, item: str) -> str:
    """Begin to buy and answer the checkout's id."""
    answer = browser.post("/billing/checkout", json={"item": item})
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"]["url"].startswith(fake.url)
    return fake.all("checkout.session")[-1]["id"]


def test_a_pack_is_bought_and_given_once_however_often_one_looks(account, shop, fake) -> None:
    browser = shop(account)
    assert browser.get("/billing/prices").json()["data"]["for_sale"]
    bought = begin(browser, fake, "usd_10")
    look = {"id": bought}
    assert browser.get("/billing/session", params=look).json()["data"]["state"] == "open"
    assert browser.get("/credits").json()["data"]["available_credits"] == 100
    fake.pay(bought)
    for _ in range(3):
        data = browser.get("/billing/session", params=look).json()["data"]
        assert (data["state"], data["item"], data["credits"]) == ("paid", "usd_10", 10)
        assert data["balance"]["available_credits"] == 110
    notes = [line["note"] for line in browser.get("/credits/statement").json()["data"]["movements"]]
    assert notes.count("Bought: 10 credits") == 1


def test_a_transfer_under_way_gives_nothing_yet(account, shop, fake) -> None:
    browser = shop(account)
    bought = begin(browser, fake, "eur_50")
    fake.pay_later(bought)
    data = browser.get("/billing/session", params={"id": bought}).json()["data"]
    assert (data["state"], data["balance"]["available_credits"]) == ("open", 100)
    fake.fail(bought)
    assert browser.get("/credits").json()["data"]["available_credits"] == 100


def test_another_persons_checkout_is_not_there(account, make_account, shop, fake) -> None:
    bought = begin(shop(account), fake, "usd_10")
    fake.pay(bought)
    other = shop(make_account())
    answers = [
        other.get("/billing/session", params={"id": each}) for each in (bought, "cs_none", "", "x' OR 1=1 --", "\0")
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1
    assert shop(None).get("/billing/session", params={"id": bought}).status_code == 401
    # Their looking gave nobody anything.
    assert other.get("/credits").json()["data"]["available_credits"] == 100


def test_price_buyer_and_way_back_are_ours_to_say(account, shop, fake, paying) -> None:
    browser = shop(account)
    begin(browser, fake, "usd_25")
    made = fake.all("checkout.session")[-1]
    assert (made["amount_total"], made["currency"], made["client_reference_id"]) == (999, "usd", account.id)
    here = f"http://127.0.0.1:{paying.settings.web.port}"
    assert made["success_url"] == f"{here}/billing-success?session={{CHECKOUT_SESSION_ID}}"
    assert made["cancel_url"] == f"{here}/billing-cancel"
    for more in (
        {"amount_minor": 1},
        {"credits": 1000},
        {"account_id": "acc_1"},
        {"success_url": "https://evil.example"},
        {"price": "price_1"},
    ):
        answer = browser.post("/billing/checkout", json={"item": "usd_25", **more})
        assert (answer.status_code, answer.json()["error"]) == (422, "bad_request")
    assert len(fake.all("checkout.session")) == 1


@pytest.mark.parametrize("item", ["free", "gold", "pack_usd_10", "plan_pro_monthly", "\u0000", "usd_10 "])
def test_what_is_not_for_sale_is_refused(account, shop, fake, item) -> None:
    answer = shop(account).post("/billing/checkout", json={"item": item})
    assert (answer.status_code, answer.json()["error"]) == (422, "unknown_item")
    assert fake.all("checkout.session") == []


def test_the_same_key_opens_the_same_checkout(account, make_account, shop, fake) -> None:
    browser, other = shop(account), shop(make_account())
    key = {"Idempotency-Key": "monday"}
    urls = [browser.post("/billing/checkout", json=PACK, headers=key).json()["data"]["url"] for _ in range(2)]
    assert urls[0] == urls[1]
    assert other.post("/billing/checkout", json=PACK, headers=key).json()["data"]["url"] not in urls
    assert len(fake.all("checkout.session")) == 2
    another = browser.post("/billing/checkout", json={"item": "eur_1"}, headers=key)
    assert another.json()["data"]["url"] not in urls
    strange = browser.post("/billing/checkout", json=PACK, headers={"Idempotency-Key": "caf\u00e9".encode("latin-1")})
    assert strange.status_code == 200
    too_long = browser.post("/billing/checkout", json=PACK, headers={"Idempotency-Key": "x" * 121})
    assert too_long.status_code == 422


def test_who_subscribes_is_led_to_the_portal_and_not_sold_a_second_plan(account, shop, fake, paying) -> None:
    browser = shop(account)
    refused = browser.post("/billing/portal")
    assert (refused.status_code, refused.json()["error"]) == (409, "never_bought")
    bought = begin(browser, fake, "pro")
    fake.pay(bought)
    subscription = fake.all("subscription")[-1]["id"]
    assert paying.payments is not None
    seen = standing_orders.read(paying.database, paying.payments.door, subscription)
    with paying.database.transaction() as session:
        standing_orders.book(session, seen, now=paying.now())
    assert browser.get("/auth/me").json()["data"]["plan"] == "pro"
    again = browser.post("/billing/checkout", json={"item": "pro"})
    assert (again.status_code, again.json()["error"]) == (409, "already_subscribed")
    url = browser.post("/billing/portal").json()["data"]["url"]
    assert url.startswith(fake.url)
    page = httpx.get(url)
    assert page.status_code == 200
    assert f"http://127.0.0.1:{paying.settings.web.port}/upgrade" in page.text


def test_a_payment_service_that_does_not_answer_is_told_and_nothing_is_lost(account, shop, fake, paying) -> None:
    browser = shop(account)
    bought = begin(browser, fake, "usd_10")
    fake.pay(bought)
    for _ in range(3):
        fake.faults.next(500)
    answer = browser.post("/billing/checkout", json=PACK)
    assert (answer.status_code, answer.json()["error"]) == (503, "payments_unreachable")
    assert browser.get("/billing/session", params={"id": bought}).json()["data"]["state"] == "paid"


def test_a_statement_is_read_page_by_page_and_whole(account, signed_in, database) -> None:
    now = Services.now()
    with database.transaction() as session:
        for number in range(5):
            ledger.grant(session, account.id, number + 1, key=f"g{number}", note=f"gift {number}", now=now)
    browser = signed_in(account)
    seen, before = [], {}
    for _ in range(9):
        page = browser.get("/credits/statement", params={"limit": 2, **before}).json()["data"]
        seen += [line["note"] for line in page["movements"]]
        if page["next"] is None:
            break
        before = {"before": page["next"]}
    assert seen == ["gift 4", "gift 3", "gift 2", "gift 1", "gift 0", "Welcome to Melodeon"]
    answer = browser.get("/credits/statement.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["note"] for row in rows] == seen[::-1]
    assert int(rows[-1]["available"]) == 115
