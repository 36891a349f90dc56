"""The words of the job rail, in one place so that a translated page can hand in others."""

from collections.abc import Mapping
from types import MappingProxyType

JOB_LABELS: Mapping[str, str] = MappingProxyType(
    {
        "jobs": "Songs in the making",
        "untitled": "New song",
        "queued": "Waiting",
        "position": "Number {position} in line",
        "processing": "Working",
        "processed": "Ready",
        "failed": "Failed",
        "no credits": "Not enough credits",
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
        "held": "{held} held",
    }
)
