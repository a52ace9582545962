"""The conformance suite passes a plugin that behaves and fails one that does not, check by check."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.vst3 import EFFECT, INSTRUMENT, needs_plugins

from bridge.arrays import AudioArray
from bridge.processors.vst3 import VST3
from bridge.processors.vst3_check import CHECKS, check_plugin

pytestmark = needs_plugins


def test_the_instrument_passes_every_level() -> None:
    """A well-behaved instrument passes all that apply to it."""
    outcomes = {result.name: result.outcome for result in check_plugin(INSTRUMENT, level=5)}
    assert set(outcomes) == {check.name for check in CHECKS}
    assert "failed" not in outcomes.values()


def test_the_effect_passes_up_to_latency() -> None:
    """A well-behaved effect passes levels 1 to 4, none of them skipped."""
    assert {result.outcome for result in check_plugin(EFFECT, level=4)} == {"passed"}


def run_check(name: str, vst3: Any) -> tuple[str, str]:
    check = next(check for check in CHECKS if check.name == name)
    return check.run(vst3, np.random.default_rng(0))


class Late(VST3):
    """Says its latency is compensated, and is ten samples late."""

    def process(self, *args: Any, **options: Any) -> AudioArray:
        return np.roll(super().process(*args, **options), 10, axis=1)


class Forgetful(VST3):
    """Loses every state."""

    @property
    def preset_data(self) -> bytes:
        return b""

    @preset_data.setter
    def preset_data(self, data: bytes) -> None:
        pass


class BlockBound(VST3):
    """Sounds otherwise in other blocks, and otherwise the second time."""

    calls = 0

    def process(self, *args: Any, **options: Any) -> AudioArray:
        self.calls += 1
        return super().process(*args, **options) * np.float32(1.0 + 0.001 * self.calls)


@pytest.mark.parametrize(
    ("kind", "name", "says"),
    [
        (Late, "latency truth", "10 left after compensation"),
        (Late, "bypass is null", "against the input"),
        (Forgetful, "state round trip", "parameters change on reload"),
        (BlockBound, "block-size independence", "dBFS"),
        (BlockBound, "chunk independence", "dBFS"),
        (BlockBound, "deterministic", "dBFS"),
    ],
)
def test_checks_can_fail(kind: type[VST3], name: str, says: str) -> None:
    """Each check fails a plugin made wrong in just that way."""
    with kind(EFFECT) as vst3:
        outcome, detail = run_check(name, vst3)
    assert outcome == "failed"
    assert says in detail


def test_noise_fails_nothing_when_it_is_seeded() -> None:
    """The effect's noise starts from its seed at every sound, so it is deterministic."""
    with VST3(EFFECT, params={"noise_db": -20.0}) as vst3:
        assert run_check("deterministic", vst3)[0] == "passed"


def test_a_bypass_that_is_not_the_input_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """No rule of pluginval asks what a bypassed plugin sounds like, and some delay on."""
    monkeypatch.setattr("bridge.processors.vst3_check.VST3", Late)
    (found,) = [one for one in check_plugin(EFFECT, level=2) if one.name == "bypass is null"]
    assert (found.outcome, "against the input" in found.detail) == ("warned", True)
