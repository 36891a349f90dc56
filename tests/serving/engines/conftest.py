"""Tiny checkpoints of every model engine, built once for a test process."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from serving.catalogue import known
from serving.engines.setup import Setup
from serving.models import fetch
from studio.words.engine_spec import EngineSpec, NumberControl

if TYPE_CHECKING:
    from serving.engines.acestep import AceStep


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of checkpoints, one subfolder an engine, as ``melodeon models fetch tiny-…`` leaves it."""
    models = tmp_path_factory.mktemp("models")
    for spec in known().engines():
        if spec.card and spec.card.source.startswith("tiny:"):
            fetch(spec, models, offline=True, say=lambda _: None)
    return models


def ace_step_spec(name: str) -> EngineSpec:
    """The catalogue's entry of ``tiny-ace-step-NAME``, for shorter songs and fewer steps than people are offered."""
    spec = known().spec_of(f"tiny-ace-step-{name}")
    controls = (replace(one, least=1.0) if isinstance(one, NumberControl) else one for one in spec.controls)
    return replace(spec, controls=tuple(controls))


def ace_step(name: str, models: Path, **options: object) -> "AceStep":
    """``tiny-ace-step-NAME``, loaded."""
    import torch

    from serving.engines.acestep import AceStep

    torch.set_num_threads(1)
    folder = models / f"tiny-ace-step-{name}"
    engine = AceStep(Setup(spec=ace_step_spec(name), folder=folder, device="cpu", options=options))
    engine.load()
    return engine


@pytest.fixture(scope="module")
def turbo(tiny_models: Path) -> "AceStep":
    """The tiny turbo model, loaded."""
    return ace_step("turbo", tiny_models)


@pytest.fixture(scope="module")
def base(tiny_models: Path) -> "AceStep":
    """The tiny base model, loaded."""
    return ace_step("base", tiny_models)
