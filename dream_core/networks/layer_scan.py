"""Find the layers of any module: run it once, note what each submodule gave, and tell its axes apart.

The batch axis is the one that has one size for three items and another for two. The channel axis follows
from the kind of submodule: second for convolutions and the norms that go with them, last for linear,
recurrent and attention layers. What has no kind of its own (activations, poolings, whole blocks) takes over
the axis of what ran just before it, which for a block is the last thing that ran inside, as long as the
shapes allow no doubt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["ROOT", "FoundLayer", "Recording", "find_layers", "first_tensor", "record"]

ROOT = ""
"""The path of the module itself among its submodules."""

_SECOND = (nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm)
_LAST = (
    nn.Linear,
    nn.Bilinear,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.RNNBase,
    nn.MultiheadAttention,
    nn.TransformerEncoderLayer,
    nn.TransformerDecoderLayer,
    nn.TransformerEncoder,
    nn.TransformerDecoder,
    nn.Transformer,
)
_WIDTHS = ("out_channels", "num_features", "num_channels", "out_features", "embed_dim", "hidden_size")


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of a submodule: which it was, and what it gave."""

    path: str
    module: nn.Module
    output: object
    tensor: Tensor | None
    source: int | None
    """Which earlier call gave its first input, where that is known."""


@dataclass(frozen=True, slots=True)
class Recording:
    """All calls of a run, in the order in which they ended; the module's own is the last."""

    calls: tuple[_Call, ...]

    @property
    def output(self) -> object:
        """What the module gave."""
        return self.calls[-1].output


@dataclass(frozen=True, slots=True)
class FoundLayer:
    """What is known of one submodule's output; the last of its calls counts.

    Args:
        path: Its dotted name in the module, empty for the module itself.
        module: The submodule.
        n_calls: How often it ran.
        shape: Of its output for three items; empty where it gave no tensor.
        batch_axis: Where the items are.
        channel_axis: Where the channels are.
        problem: Why it cannot be dreamed on, empty where it can.
        is_finite: Whether what it gave was.
        is_complex: Whether it was complex.
    """

    path: str
    module: nn.Module
    n_calls: int
    shape: tuple[int, ...]
    batch_axis: int | None
    channel_axis: int | None
    problem: str
    is_finite: bool
    is_complex: bool

    @property
    def n_channels(self) -> int:
        """How many channels it has."""
        return 0 if self.channel_axis is None else self.shape[self.channel_axis]

    def read(self, output: object) -> Tensor:
        """Return an output of the submodule as ``(n, channels, ...)``, in memory of its own.

        A copy, because what follows may change the tensor in place, as ReLUs and residual sums do.
        """
        tensor = first_tensor(output)
        assert tensor is not None
        assert self.batch_axis is not None
        assert self.channel_axis is not None
        moved = tensor.movedim((self.batch_axis, self.channel_axis), (0, 1))
        return moved.float() if moved.dtype in (torch.float16, torch.bfloat16) else moved.clone()


def first_tensor(output: object) -> Tensor | None:
    """Return the first tensor of real or complex numbers in what a module gave, however deep it lies.

    >>> first_tensor({"lengths": torch.tensor([3]), "features": (torch.ones(1), torch.zeros(1))})
    tensor([1.])
    """
    if isinstance(output, Tensor):
        return output if output.is_floating_point() or output.is_complex() else None
    parts: Sequence[object] = ()
    if isinstance(output, Mapping):
        parts = list(output.values())
    elif isinstance(output, tuple | list):
        parts = output
    elif is_dataclass(output):
        parts = [getattr(output, field.name) for field in fields(output)]
    return next((found for part in parts if (found := first_tensor(part)) is not None), None)


def record(module: nn.Module, run: Callable[[], object]) -> Recording:
    """Note every call of a module's submodules while it runs; the hooks are gone afterwards."""
    calls: list[_Call] = []
    made_by: dict[int, int] = {}

    def keeper(path: str) -> Callable[[nn.Module, Any, object], None]:
        def keep(submodule: nn.Module, inputs: Any, output: object) -> None:
            given, tensor = first_tensor(inputs), first_tensor(output)
            calls.append(_Call(path, submodule, output, tensor, made_by.get(id(given))))
            if tensor is not None:  # `calls` holds it, so no other gets its id
                made_by[id(tensor)] = len(calls) - 1

        return keep

    handles = []
    for path, submodule in module.named_modules():
        if path != ROOT:
            with suppress(RuntimeError):  # a compiled module may refuse
                handles.append(submodule.register_forward_hook(keeper(path)))
    try:
        output = run()
    finally:
        for handle in handles:
            handle.remove()
    calls.append(_Call(ROOT, module, output, first_tensor(output), None))
    return Recording(tuple(calls))


def find_layers(
    three: Recording, two: Recording, channel_axis: int | Mapping[str, int] | None = None
) -> dict[str, FoundLayer]:
    """Return what is known of every submodule that ran, in the order in which they were done.

    Args:
        three: A run with three items, its input asking for a gradient.
        two: A run with two.
        channel_axis: Where the channels are instead, in all outputs or in those of some paths.
    """
    # Counted from the end: where the runs took different ways, the last calls are compared.
    of_two = dict(zip(_from_end(two), two.calls, strict=True))
    counts = Counter(call.path for call in three.calls)
    axes: list[int | None] = []
    found: dict[str, FoundLayer] = {}
    for place, (key, call) in enumerate(zip(_from_end(three), three.calls, strict=True)):
        other = of_two.get(key)
        batch_axis = _batch_axis(call.tensor, other.tensor if other else None)
        axis = _channel_axis(call, batch_axis, three.calls[:place], axes)
        given = channel_axis.get(call.path) if isinstance(channel_axis, Mapping) else channel_axis
        if given is not None:
            axis = _given_axis(call.tensor, batch_axis, given)
        axes.append(axis)
        found.pop(call.path, None)  # the last call gives the place as well
        found[call.path] = FoundLayer(
            call.path,
            call.module,
            counts[call.path],
            () if call.tensor is None else tuple(call.tensor.shape),
            batch_axis,
            axis,
            _problem(call.tensor, batch_axis, axis, given),
            call.tensor is None or bool(torch.isfinite(call.tensor).all()),
            call.tensor is not None and call.tensor.is_complex(),
        )
    return found


def _from_end(recording: Recording) -> list[tuple[str, int]]:
    left = Counter(call.path for call in recording.calls)
    keys = []
    for call in recording.calls:
        keys.append((call.path, left[call.path]))
        left[call.path] -= 1
    return keys


def _batch_axis(three: Tensor | None, two: Tensor | None) -> int | None:
    if three is None or two is None or three.ndim != two.ndim:
        return None
    differing = [axis for axis in range(three.ndim) if three.shape[axis] != two.shape[axis]]
    if len(differing) != 1 or (three.shape[differing[0]], two.shape[differing[0]]) != (3, 2):
        return None
    return differing[0]


def _given_axis(tensor: Tensor | None, batch_axis: int | None, given: int) -> int | None:
    if tensor is None or not -tensor.ndim <= given < tensor.ndim or given % tensor.ndim == batch_axis:
        return None
    return given % tensor.ndim


def _problem(tensor: Tensor | None, batch_axis: int | None, axis: int | None, given: int | None) -> str:
    if tensor is None:
        return "gives no tensor of real numbers"
    shape = tuple(tensor.shape)
    if tensor.is_complex():
        return "gives complex numbers"
    if batch_axis is None:
        return f"gives {shape} for 3 items, in which the items cannot be found"
    if tensor.ndim < 2:
        return f"gives {shape} for 3 items, which has no channels"
    if axis is None and given is not None:
        return f"gives {shape} for 3 items, in which axis {given} cannot hold the channels"
    if axis is None:
        return f"gives {shape} for 3 items, in which the channels cannot be told; say which with channel_axis"
    if not tensor.requires_grad:
        return "gives nothing that a gradient comes back through"
    return ""


def _channel_axis(
    call: _Call, batch_axis: int | None, earlier: Sequence[_Call], axes: Sequence[int | None]
) -> int | None:
    """Return where the channels are in what a call gave, None where it cannot be told."""
    tensor, module = call.tensor, call.module
    if tensor is None or batch_axis is None or tensor.ndim < 2:
        return None
    free = [axis for axis in range(tensor.ndim) if axis != batch_axis]
    if len(free) == 1:
        return free[0]
    inherited = _inherit(call, batch_axis, earlier, axes)
    own = None
    if isinstance(module, _SECOND):
        own = 1 if batch_axis == 0 else None
    elif isinstance(module, _LAST) and batch_axis != tensor.ndim - 1:
        own = tensor.ndim - 1
        if isinstance(module, nn.LayerNorm | nn.RMSNorm) and len(module.normalized_shape) > 1:
            own = inherited  # a norm over whole pictures does not say which axis is which
    else:
        return inherited
    if type(module).__module__.startswith("torch.nn.modules"):
        return own
    # A class made from one of Torch's may turn its axes, as norms over channels in front do.
    width = next((getattr(module, name) for name in _WIDTHS if hasattr(module, name)), None)
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        width = module.normalized_shape[-1]
    fitting = [axis for axis in free if tensor.shape[axis] == width]
    if len(fitting) == 1:
        return fitting[0]
    return inherited if inherited in fitting else own


def _inherit(
    call: _Call, batch_axis: int, earlier: Sequence[_Call], axes: Sequence[int | None]
) -> int | None:
    """Return the axis of what ran before, moved along with the channels where they can be followed."""
    is_leaf = not any(True for _ in call.module.children())
    place = call.source if is_leaf and call.source is not None else len(earlier) - 1
    while place >= 0 and axes[place] is None:
        place -= 1
    tensor, before = call.tensor, earlier[place].tensor if place >= 0 else None
    if tensor is None or before is None:
        return None
    axis = axes[place]
    assert axis is not None
    shape, old = tuple(tensor.shape), tuple(before.shape)
    # Other channels at the same place: parallel branches put side by side.
    if len(shape) == len(old) and shape[:axis] == old[:axis] and shape[axis + 1 :] == old[axis + 1 :]:
        return axis
    if is_leaf and any(True for _ in call.module.parameters(recurse=False)):
        return None  # it may do anything, also give as many channels as there are bands
    fitting = [i for i in range(len(shape)) if i != batch_axis and shape[i] == old[axis]]
    if len(shape) == len(old) and axis in fitting:
        return axis
    return fitting[0] if len(fitting) == 1 else None
