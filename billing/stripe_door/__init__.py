"""The one door to Stripe, and the only importer of its library.

What comes out are our frozen records (``billing.stripe_records``), made here once; the library's own objects never
leave this package, and none is ever asked with ``.get(``: they are no dicts (since stripe 15), a missing field is an
AttributeError, which becomes a sentence here. Every call has a time limit and two retries under one idempotency key.
"""

from billing.stripe_door.door import StripeDoor
from billing.stripe_door.translation import API_VERSION, StripeRefused, StripeUnreachable
from billing.stripe_notices import BadNotice

__all__ = ["API_VERSION", "BadNotice", "StripeDoor", "StripeRefused", "StripeUnreachable"]
