"""The songs application: whole songs, two takes a call."""

from typing import Final

from ray import serve

from serving.deployments.replica import Replica

Songs: Final = serve.deployment(Replica, name="Songs")
"""Scaled by its entry in ``configs/serve/*.yaml``."""
