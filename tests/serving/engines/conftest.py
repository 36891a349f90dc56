"""Tiny checkpoints of every model engine, built once for a test process."""

from pathlib import Path

import pytest

from serving.catalogue import known
from serving.models import fetch


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of checkpoints, one subfolder an engine, as ``melodeon models fetch tiny-…`` leaves it."""
    models = tmp_path_factory.mktemp("models")
    for spec in known().engines():
        if spec.card and spec.card.source.startswith("tiny:"):
            fetch(spec, models, offline=True, say=lambda _: None)
    return models
