"""What can go wrong inside a plugin, as data for reports and as an error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bridge.errors import PluginFaultError

if TYPE_CHECKING:
    from bridge.clock.tempo_map import TempoMap

__all__ = ["DriverFault", "FaultAction", "FaultKind", "HostedPluginError", "PluginFault"]

FaultKind = Literal["crash", "hang", "not a number", "runaway level"]
FaultAction = Literal["fail", "bypass", "retry"]


class DriverFault(Exception):  # noqa: N818 - it is what happened, the error is made of it
    """The plugin took its driver with it; the owner of the driver makes a `PluginFault` of it."""

    def __init__(self, kind: FaultKind, detail: str, position_samples: int) -> None:
        super().__init__(detail)
        self.kind: FaultKind = kind
        self.detail = detail
        self.position_samples = position_samples


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginFault:
    """One fault of a hosted plugin, for the report of a render.

    Args:
        plugin: The plugin's name.
        kind: What happened.
        position_samples: Where in the sound: exact for nonsense samples, else the start of the block that was
            being processed.
        detail: Signal, exit code, time waited or level.
        action: What was done about it.
        sample_rate: Of the sound, in Hz; 0 where none was playing.
        is_second: Whether the plugin had been started again before, for ``retry``.
    """

    plugin: str
    kind: FaultKind
    position_samples: int
    detail: str
    action: FaultAction
    sample_rate: float = 0.0
    is_second: bool = False

    def what_and_where(self, tempo_map: TempoMap | None = None) -> str:
        """Return which plugin did what, and where: sample, time and, where the clock is known, bar."""
        where = f"{self.plugin}: {self.kind} at sample {self.position_samples}"
        if self.sample_rate > 0.0:
            position_s = self.position_samples / self.sample_rate
            minutes, seconds = divmod(position_s, 60.0)
            where += f", {int(minutes)}:{seconds:06.3f} into the sound"
            if tempo_map is not None:
                where += f", bar {tempo_map.position_text(float(tempo_map.seconds_to_beats(position_s)))}"
        return f"{where} ({self.detail})"

    def told(self, tempo_map: TempoMap | None = None) -> str:
        """Return all of it as one line for people."""
        done = {
            "fail": "the stem failed",
            "bypass": "bypassed from there on: the rest of the stem is dry at this node",
            "retry": "started again and repeated from the start: the stem is whole",
        }[self.action]
        block = f"To never load it again run: reverie plugins block {self.plugin!r}"
        return f"{self.what_and_where(tempo_map)}; {done}. {block}"

    def __str__(self) -> str:
        return self.told()


class HostedPluginError(PluginFaultError):
    """A hosted plugin crashed, hung or sent nonsense; `fault` says it as data.

    Args:
        fault: What happened.
        tempo_map: The song's clock, to say the bar.
    """

    def __init__(self, fault: PluginFault, tempo_map: TempoMap | None = None) -> None:
        again = ", also after it was started again" if fault.is_second else ""
        retry = "" if fault.is_second else ', or "retry" to start it again once'
        super().__init__(
            f"{fault.what_and_where(tempo_map)}{again}. Nothing of this stem was written. To let "
            f'the stem through, dry from there on, set on_fault = "bypass" at its node{retry}; to test '
            f"the plugin run: reverie plugins check {fault.plugin!r}; to never load it again: "
            f"reverie plugins block {fault.plugin!r}"
        )
        self.fault = fault
