"""Pretended payments: the fake Stripe as a part of the product, for ``melodeon up --fake-stripe``. No money moves."""

import sys
from typing import Final

from billing.payments import open_payments
from billing.stripe_door import StripeRefused, StripeUnreachable
from billing.testing.keys import keys_in
from configs.addresses import database_url, local_web_url, pretended_keys, pretended_stripe, pretended_stripe_port
from configs.secrets import Secrets
from configs.settings import Settings
from data.database import Database
from serving.api.views import PREFIX
from serving.processes import ChildProcess
from serving.stack import ProcessPart
from studio.errors import MelodeonError

_PORT: Final = 8620


class PaymentsAreReal(MelodeonError):
    """Payments were to be pretended where a key of the real service is configured."""

    code = "payments_are_real"

    def __init__(self) -> None:
        super().__init__(
            "MELODEON_STRIPE__API_KEY is set, so payments are real here. Take it away, or leave --fake-stripe out."
        )


def with_pretended_payments(settings: Settings) -> Settings:
    """The settings with the fake Stripe for payments.

    Raises:
        PaymentsAreReal: they name a key of their own.
    """
    if settings.stripe.api_key is not None:
        raise PaymentsAreReal
    keys_in(pretended_keys(settings.var))
    return settings.model_copy(update={"stripe": pretended_stripe(settings.var, _PORT)})


def pretended_part(settings: Settings, secrets: Secrets) -> ProcessPart:
    """The fake Stripe, ready when it knows our prices. What was pretended is kept in ``var/fake-stripe``."""
    keys = pretended_keys(settings.var)
    command = [
        *(sys.executable, "-m", "billing.testing"),
        *("--port", str(pretended_stripe_port(settings))),
        *("--webhook", f"{local_web_url(settings)}{PREFIX}/webhooks/stripe"),
        *("--key-file", str(keys)),
        *("--state", str(keys.with_name("state.json"))),
    ]
    child = ChildProcess("fake-stripe", command, var=settings.var, grace_s=5)
    payments = open_payments(settings.stripe, Database(database_url(settings, secrets, role="billing")))

    def knows_our_prices() -> bool:
        try:
            return payments is not None and payments.sync_prices() >= 0
        except (StripeUnreachable, StripeRefused):
            return False

    return ProcessPart(child, ready=knows_our_prices)
