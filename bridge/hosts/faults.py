"""What can go wrong inside a plugin, as data for reports and as an error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bridge.errors import PluginFaultError

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
    """

    plugin: str
    kind: FaultKind
    position_samples: int
    detail: str
    action: FaultAction

    def __str__(self) -> str:
        done = {
            "fail": "the stem failed",
            "bypass": "bypassed from there on",
            "retry": "started again and repeated from the start",
        }[self.action]
        return f"{self.plugin}: {self.kind} at sample {self.position_samples} ({self.detail}); {done}"


class HostedPluginError(PluginFaultError):
    """A hosted plugin crashed, hung or sent nonsense; `fault` says it as data."""

    def __init__(self, fault: PluginFault) -> None:
        super().__init__(
            f"{fault.plugin}: {fault.kind} at sample {fault.position_samples} ({fault.detail}). "
            'To let the stem through without this plugin set on_fault = "bypass"; '
            f"to test the plugin run: reverie plugins check {fault.plugin!r}"
        )
        self.fault = fault
