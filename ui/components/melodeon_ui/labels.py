"""The words of the job rail, which a translated page can replace. Pages call the states of songs by them too."""

from collections.abc import Mapping
from types import MappingProxyType

JOB_LABELS: Mapping[str, str] = MappingProxyType(
    {
        "jobs": "Songs in the making",
        "untitled": "New song",
        "queued": "In the queue",
        "position": "Number {position} in the queue",
        "processing": "Being made",
        "processed": "Ready",
        "failed": "Failed",
        "no credits": "Needs credits",
        "cancelled": "Cancelled",
        "text": "Words",
        "music": "Music",
        "cover": "Cover",
        "tags": "Tags",
        "seconds_left": "about {seconds} s left",
        "minutes_left": "about {minutes} min left",
        "cancel": "Cancel",
        "cancelling": "Cancelling…",
        "cancel_failed": "That could not be cancelled. Try again.",
        "dismiss": "Dismiss",
        "offline": "Reconnecting…",
        "balance": "{available} credits",
        "balance_one": "1 credit",
        "held": "{held} set aside",
    }
)
