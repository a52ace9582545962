"""Files of mel CNNs: what their headers say of the front end is read, or refused."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dream_core.errors import WeightsError
from dream_core.networks import mel_cnn, timbre
from dream_core.networks.weights import write_tensors

NEW_FIELDS = ("mel", "power", "centred", "compress")


def write_with(path: Path, frontend: dict[str, Any]) -> None:
    """Write `timbre` with another front end in its header."""
    shape = {**asdict(timbre.SPEC), "frontend": frontend}
    header = {"kind": mel_cnn.KIND, "card": asdict(timbre.CARD), "shape": shape}
    write_tensors(path, {"x": torch.zeros(1)}, header)


def test_older_files_say_nothing_of_the_scale_and_hear_as_they_did(tmp_path: Path) -> None:
    frontend = asdict(timbre.SPEC.frontend)
    write_with(tmp_path / "old.safetensors", {k: v for k, v in frontend.items() if k not in NEW_FIELDS})

    assert mel_cnn.read_card(tmp_path / "old.safetensors")[1] == timbre.SPEC


def test_another_front_end_comes_back_from_its_file(tmp_path: Path) -> None:
    frontend = replace(timbre.SPEC.frontend, mel="slaney", power=2, centred=True, compress="log10")
    shape = replace(timbre.SPEC, frontend=frontend)
    mel_cnn.write(tmp_path / "own.safetensors", mel_cnn.MelCnn(timbre.CARD, shape))

    assert mel_cnn.read_card(tmp_path / "own.safetensors")[1] == shape


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mel", "bark"),
        ("mel", 1),
        ("power", 3),
        ("power", 0),
        ("power", True),
        ("centred", 1),
        ("centred", "yes"),
        ("compress", "log2"),
        ("compress", ["log"]),
        ("unheard_of", 1),
    ],
)
def test_a_front_end_that_cannot_be_is_refused(tmp_path: Path, key: str, value: object) -> None:
    path = tmp_path / "own.safetensors"
    write_with(path, {**asdict(timbre.SPEC.frontend), key: value})

    with pytest.raises(WeightsError, match="its card cannot be read"):
        mel_cnn.read_card(path)
