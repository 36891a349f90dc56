"""The covers application: square pictures."""

from typing import Final

from ray import serve

from serving.deployments.replica import Replica

Covers: Final = serve.deployment(Replica, name="Covers")
"""Scaled by its entry in ``configs/serve/*.yaml``."""
