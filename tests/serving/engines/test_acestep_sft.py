"""The published sft conversion: its transformer names no version and is no turbo. It follows guidance all the same."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from serving.catalogue import known
from serving.engines.acestep import AceStep
from serving.engines.setup import Setup
from studio.words.brief import Brief, Controls
from studio.words.engine_spec import NumberControl


def test_a_checkpoint_that_names_no_version_makes_its_takes_with_two_guidances(tiny_models: Path, tmp_path: Path):
    folder = tmp_path / "sft"
    shutil.copytree(tiny_models / "tiny-ace-step-base", folder)
    config = folder / "transformer" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "model_version": None}))
    spec = known().spec_of("ace-step-sft")
    controls = (replace(one, least=1.0) if isinstance(one, NumberControl) else one for one in spec.controls)
    tiny = known().spec_of("tiny-ace-step-base").card
    engine = AceStep(Setup(spec=replace(spec, controls=tuple(controls), card=tiny), folder=folder, device="cpu"))
    takes = engine.make(Brief(prompt="folk", controls=Controls(duration_s=1.0, steps=2, seed=5)), lambda _: None)
    assert [take.settings["guidance_scale"] for take in takes] == [7.5, 15.0]
    assert not np.array_equal(takes[0].result.clip.samples, takes[1].result.clip.samples)
