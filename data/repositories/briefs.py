"""Briefs as JSON values, as they are kept with their Jobs."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from studio.words.brief import Brief, BriefKind, BriefMode, Controls, MusicTask, UnfitBrief


def brief_to_json(brief: Brief) -> dict[str, Any]:
    """The Brief as JSON values; `brief_from_json` gives it back."""
    return asdict(brief)


def brief_from_json(values: Mapping[str, Any]) -> Brief | None:
    """The Brief that `brief_to_json` wrote; None when a version with other words wrote it."""
    try:
        words = {**values, "kind": BriefKind(values["kind"]), "mode": BriefMode(values["mode"])}
        words["task"] = MusicTask(values.get("task", MusicTask.TEXT2MUSIC))
        words["tracks"] = tuple(values.get("tracks", ()))
        words["window"] = tuple(values["window"]) if values.get("window") else None
        return Brief(**{**words, "controls": Controls(**values["controls"])})
    except (TypeError, ValueError, KeyError, AttributeError, UnfitBrief):
        return None
