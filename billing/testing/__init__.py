"""A fake Stripe that speaks HTTP to the unmodified library; for tests, and for trying purchases without an account.

``FakeStripe`` is the whole of it; ``python -m billing.testing`` runs it as a program.
"""

from billing.testing.clock import VirtualClock, WallClock
from billing.testing.fake import FakeStripe
from billing.testing.keys import Keys, keys_in
from billing.testing.webhooks import Trouble

__all__ = ["FakeStripe", "Keys", "Trouble", "VirtualClock", "WallClock", "keys_in"]
