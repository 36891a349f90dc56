"""Answers in Stripe's form for errors."""

from typing import Any

from studio.errors import MelodeonError


class Refusal(MelodeonError):
    """The fake's answer to a bad request, in Stripe's shape.

    Args:
        status: HTTP status.
        kind: Stripe's ``type``: ``invalid_request_error``, ``idempotency_error``, ``api_error`` …
    """

    code = "fake_stripe_refusal"

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        reason: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.reason = reason
        self.param = param

    def body(self) -> dict[str, Any]:
        """What is sent."""
        error = {"type": self.kind, "message": str(self), "code": self.reason, "param": self.param}
        return {"error": {name: value for name, value in error.items() if value is not None}}


def missing(kind: str, object_id: str, param: str = "id") -> Refusal:
    """There is no such object: 404 where it is the address, 400 where it is a parameter."""
    status = 404 if param == "id" else 400
    return Refusal(f"No such {kind}: '{object_id}'", status=status, reason="resource_missing", param=param)
