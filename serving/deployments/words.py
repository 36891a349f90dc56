"""The words application: prompts, titles, lyrics and tags."""

from typing import Final

from ray import serve

from serving.deployments.replica import Replica

Words: Final = serve.deployment(Replica, name="Words")
"""Scaled by its entry in ``configs/serve/*.yaml``."""
