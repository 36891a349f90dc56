"""The fake Stripe as a program: ``python -m billing.testing --port 8620 --webhook URL --key-file FILE``.

Real time; the page at ``/`` lets a subscription's month pass, bank transfers arrive and disputes be decided. Ends on
SIGTERM and SIGINT.
"""

import argparse
import signal
import threading
from pathlib import Path

from billing.testing.clock import WallClock
from billing.testing.fake import FakeStripe
from billing.testing.keys import keys_in


def main() -> None:
    """Serves until told to end."""
    parser = argparse.ArgumentParser(prog="python -m billing.testing", description="A fake Stripe over HTTP.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--webhook", required=True, help="address of the product's webhook")
    parser.add_argument("--key-file", type=Path, required=True, help="JSON with the keys; made if missing")
    parser.add_argument("--state", type=Path, help="JSON that keeps customers and payments over a restart")
    wanted = parser.parse_args()
    keys = keys_in(wanted.key_file)
    end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end.set())
    with FakeStripe(
        WallClock(), api_key=keys.api_key, webhook_secret=keys.webhook_secret, host=wanted.host, port=wanted.port
    ) as fake:
        fake.deliver_to(wanted.webhook)
        fake.run_by_itself(wanted.state)
        end.wait()


if __name__ == "__main__":
    main()
