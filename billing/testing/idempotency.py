"""Idempotency keys as Stripe keeps them: the first answer, also a 500, for 24 hours; other parameters are an error."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from billing.testing.clock import Clock
from billing.testing.refusal import Refusal

LIFE: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer: status, JSON body, and whether it is a repetition."""

    status: int
    body: dict[str, Any]
    replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    asked: str
    answer: Answer
    at: datetime


class IdempotencyKeys:
    """The answers given, by key."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.RLock()

    def answer(self, key: str, asked: str, work: Callable[[], Answer]) -> Answer:
        """The answer kept for the key, or that of ``work``, which is then kept.

        Args:
            asked: method, address and parameters as one text.

        Raises:
            Refusal: the key was used for something else.
        """
        with self._lock:
            now = self._clock.now()
            kept = self._kept.get(key)
            if kept is not None and now - kept.at < LIFE:
                if kept.asked != asked:
                    raise Refusal(
                        "Keys for idempotent requests can only be used with the same parameters they were first "
                        f"used with. Try using a key other than '{key}' if you meant to execute a different request.",
                        kind="idempotency_error",
                    )
                return Answer(status=kept.answer.status, body=kept.answer.body, replayed=True)
            answer = work()
            if answer.status not in (401, 429) and answer.status != 400:
                self._kept[key] = _Kept(asked=asked, answer=answer, at=now)
            return answer
