"""Processes that train together end where one does."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.paths import ROOT
from helpers.segments import MemorySegments, additive, store
from safetensors.torch import load_file
from torch import Tensor, nn

from dream_core.errors import SettingError
from dream_core.training.loop import train
from dream_core.training.norms import share_norms
from dream_core.training.run import EpochReport
from dream_core.training.run_settings import RunSettings
from dream_core.training.team import Team

SETTINGS = RunSettings(epochs=3, steps_per_epoch=3, batch_size=9, calibration_batches=2, learning_rate=1e-3)
OPTIONS = {"widths": "8,8,12", "dropout": "0"}
TOLERANCE = 2e-4
"""Float32 sums in another order, through six steps of AdamW at 1e-3, which scales small gradients up."""


@pytest.fixture(scope="module")
def few() -> MemorySegments:
    """Three classes, small."""
    return additive(n_classes=3, groups_per_class=6, segments_per_group=3, seconds=0.25)


class TwoAlike(Team):
    """Two processes that hold the same."""

    def sum(self, value: Tensor) -> Tensor:
        return 2.0 * value.detach()


def test_a_shared_norm_is_that_of_all_batches_together() -> None:
    """Outputs, gradients and running statistics of half a batch are those that the whole batch gives it."""
    torch.manual_seed(0)
    alone = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)).double()
    shared = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)).double()
    shared.load_state_dict(alone.state_dict())
    shared = share_norms(shared, TwoAlike(0, 2))
    half = torch.randn(4, 2, 6, 5, dtype=torch.float64)
    weights = torch.randn(4, 3, 4, 3, dtype=torch.float64)

    both = alone(torch.cat([half, half]))
    (both * torch.cat([weights, weights])).sum().backward()
    own = shared(half)
    (own * weights).sum().backward()

    torch.testing.assert_close(own, both[:4])
    for one, other in zip(shared.parameters(), alone.parameters(), strict=True):
        # Each process has its half of the gradient; the team sums them.
        torch.testing.assert_close(2.0 * one.grad, other.grad)
    assert shared.state_dict().keys() == alone.state_dict().keys()
    for name, value in shared.state_dict().items():
        torch.testing.assert_close(value, alone.state_dict()[name])


def test_batches_too_small_to_share_are_refused(few: MemorySegments, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="set batch_size to 12 at least"):
        train(few, "mel_full", SETTINGS, tmp_path / "run", options=OPTIONS, team=Team(0, 6))


PROGRAM = """
import os, sys
import torch._dynamo, torch.distributed
import bridge.datasets.prepare, bridge.datasets.scan, dream_core.training.timbre
from bridge.cli import main
os.environ.update(WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT="{port}", REVERIE_HOME={home!r})
children = []
for rank in ("0", "1"):
    child = os.fork()
    if not child:
        os.environ.update(RANK=rank, LOCAL_RANK=rank)
        file = os.open({said!r} + "/said" + rank, os.O_CREAT | os.O_WRONLY)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.exit(main({words!r}))
    children.append(child)
sys.exit(max(os.waitpid(child, 0)[1] for child in children) != 0)
"""
"""Two processes with what torchrun tells each; both are copies of one that has read all modules, which costs
more than the training does."""


class KilledError(Exception):
    """Stands for whatever ends a process."""


def test_two_processes_go_on_where_one_stopped_and_end_where_one_ends(
    few: MemorySegments, tmp_path: Path
) -> None:
    """An epoch by one process, two more by two, as torchrun would start them: the first alone writes."""
    data = store(few, tmp_path / "data")
    whole = train(data, "mel_full", SETTINGS, tmp_path / "whole", options=OPTIONS)

    def stop(told: EpochReport) -> None:
        raise KilledError

    folder = tmp_path / "home/runs/both"
    with pytest.raises(KilledError):
        train(data, "mel_full", SETTINGS, folder, stop, options=OPTIONS)
    words = ["networks", "train", "--run", str(folder / "run.toml"), "--data", str(data.folder)]
    words += ["--name", "both", "--device", "cpu", "--resume"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = PROGRAM.format(words=words, port=port, home=str(tmp_path / "home"), said=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, timeout=600, capture_output=True, text=True, check=False
    )
    said = [(tmp_path / f"said{rank}").read_text() for rank in (0, 1)]

    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), said
    assert said[1] == ""
    assert "epoch   3/3" in said[0]
    expected, found = load_file(whole.path), load_file(folder / "checkpoint.safetensors")
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=TOLERANCE, atol=TOLERANCE, msg=name)
    assert load_file(tmp_path / "home/networks/both.safetensors").keys() == expected.keys()
