"""The processor contract: what one node of a chain must offer.

pedalboard's plugins cannot be subclassed from Python, so compatible means: the same call. Every processor
here takes ``process(input_array, sample_rate, buffer_size, reset)`` as pedalboard's do, and adds what
pedalboard leaves out: automation, an explicit end of the stream, latency, tail and named parameters.

Conventions:

- Arrays are ``(channels, samples)`` float32, always; the layout is never guessed.
- ``reset=True`` treats the array as a whole sound: as many samples come back as went in.
- ``reset=False`` continues a stream: the processor may withhold samples (a dream needs its window, a plugin
  its latency) and ``flush()`` gives back what is withheld, so that a stream as a whole is as long as its
  input and aligned with it, whatever the blocks.
- A tail is bought with silence fed in after the sound; ``tail_seconds`` says how much is worth feeding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from bridge.arrays import AudioArray, Lane
from bridge.errors import ProcessorError
from bridge.parameters import ParamSpec, ParamValue

__all__ = [
    "AUTOMATION_BLOCK_SAMPLES",
    "DEFAULT_BUFFER_SIZE",
    "DURING",
    "DURING_SPEC",
    "MAX_CHANNELS",
    "MIX_SPEC",
    "Processor",
    "check_audio",
]

DEFAULT_BUFFER_SIZE = 8192
"""pedalboard's own default block."""


AUTOMATION_BLOCK_SAMPLES = 64
"""How often a parameter moves where the processor cannot move it at every sample."""


@runtime_checkable
class Processor(Protocol):
    """One node of a chain."""

    @property
    def is_effect(self) -> bool:
        """Whether audio goes in."""
        ...

    @property
    def is_instrument(self) -> bool:
        """Whether notes go in."""
        ...

    @property
    def latency_samples(self) -> int:
        """How many samples the processor delays its output by, already compensated in what it returns."""
        ...

    @property
    def tail_seconds(self) -> float:
        """How long the output goes on after the input has ended."""
        ...

    @property
    def parameters(self) -> Mapping[str, ParamSpec]:
        """Every parameter by name."""
        ...

    def get_parameter(self, name: str) -> ParamValue:
        """Return the present value of a parameter, in its own unit."""
        ...

    def set_parameter(self, name: str, value: ParamValue) -> None:
        """Set a parameter in its own unit; an unknown name or a value out of range raises."""
        ...

    def process(
        self,
        input_array: AudioArray,
        sample_rate: float,
        buffer_size: int = DEFAULT_BUFFER_SIZE,
        reset: bool = True,
        *,
        automation: Mapping[str, Lane] | None = None,
    ) -> AudioArray:
        """Process audio.

        Args:
            input_array: (channels, samples) float32.
            sample_rate: Hz.
            buffer_size: Most samples handed to native code at once.
            reset: Treat the array as a whole sound; False continues a stream.
            automation: One value a sample for each moving parameter, in its own unit, as long as the input.

        Returns:
            (channels, samples) float32: as long as the input when `reset`, else what is ready.
        """
        ...

    def flush(self) -> AudioArray:
        """End the stream and return the samples still withheld: none is ``(channels, 0)``."""
        ...

    def reset(self) -> None:
        """Forget every sample seen."""
        ...


MIX_SPEC = ParamSpec(
    name="mix", default=1.0, minimum=0.0, maximum=1.0, automation="sample", help="dry (0) to wet (1)"
)
"""How much of a node is heard: the chain's own parameter of every node."""

DURING = "during"
"""The chain's lane that scales the mix of a node, whatever mix the node has of its own."""

DURING_SPEC = ParamSpec(name=DURING, default=1.0, minimum=0.0, maximum=1.0, help="where a node is heard")
"""It is made of a preset's `during` alone: no route can move it."""


MAX_CHANNELS = 64
"""More are taken for a mistaken layout."""


def check_audio(input_array: AudioArray, where: str, max_channels: int | None = None) -> None:
    """Refuse arrays whose layout or type would have to be guessed.

    Raises:
        ProcessorError: Not a ``(channels, samples)`` float32 array, or more channels than accepted.
    """
    if not hasattr(input_array, "ndim"):
        raise ProcessorError(
            f"{where}: got a {type(input_array).__name__}; a NumPy array (channels, samples) is accepted"
        )
    if input_array.ndim != 2:
        raise ProcessorError(
            f"{where}: got an array of shape {input_array.shape}; (channels, samples) is accepted. "
            "For mono, pass samples[None, :]."
        )
    if input_array.dtype != "float32":
        raise ProcessorError(
            f"{where}: got {input_array.dtype} samples; float32 is accepted. Call .astype('float32')."
        )
    max_channels = MAX_CHANNELS if max_channels is None else max_channels
    if input_array.shape[0] > max_channels:
        hint = (
            " The array looks like (samples, channels): pass its transpose."
            if input_array.shape[0] > input_array.shape[1]
            else ""
        )
        raise ProcessorError(
            f"{where}: got {input_array.shape[0]} channels; at most {max_channels} are accepted.{hint}"
        )
