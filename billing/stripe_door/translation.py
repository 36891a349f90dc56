"""What goes wrong at Stripe, in sentences of ours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import stripe

from studio.errors import MelodeonError

API_VERSION: Final = "2026-10-28.endive"
"""The version of Stripe's API that the records were written against; set the webhook endpoint to it too."""


T = TypeVar("T")


class StripeUnreachable(MelodeonError):
    """Stripe did not answer, or not now; the same call may be made again."""

    code = "payments_unreachable"

    def __init__(self, why: str) -> None:
        super().__init__(
            f"The payment service cannot be reached just now ({why}). Nothing was charged; try again soon."
        )
        self.why = why


class StripeRefused(MelodeonError):
    """Stripe answered, and said no, or answered in a shape we do not know: a matter for the operator."""

    code = "payments_refused"

    def __init__(self, why: str) -> None:
        super().__init__(f"The payment service refused: {why}")
        self.why = why


@contextmanager
def translated() -> Iterator[None]:
    """Turns the library's errors, and answers of another shape than the pinned version's, into ours."""
    try:
        yield
    except (stripe.APIConnectionError, stripe.RateLimitError) as error:
        raise StripeUnreachable(type(error).__name__) from error
    except stripe.APIError as error:
        if error.http_status is not None and error.http_status < 500:
            raise StripeRefused(f"{type(error).__name__} ({error.http_status}).") from error
        raise StripeUnreachable(f"it answered {error.http_status}") from error
    except stripe.StripeError as error:
        raise StripeRefused(str(error.user_message or type(error).__name__)) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StripeRefused(f"its answer has another shape than that of API {API_VERSION} ({error}).") from error


def once(key: str, call: Callable[[stripe.RequestOptions], T]) -> T:
    """Makes a call that has one effect however often it is made with this key within a day.

    Stripe keeps the first answer under the key even if it was its own fault (a 500), and would repeat that for a
    day; such a repeated fault is asked again under a key of its own. Only for calls whose second effect costs
    nobody anything: an unused customer, an unused checkout.
    """
    try:
        return call({"idempotency_key": key})
    except stripe.APIError as error:
        if (error.http_status or 0) < 500 or "idempotent-replayed" not in (error.headers or {}):
            raise
        return call({})
