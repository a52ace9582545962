"""The ways in which patches are handed to a module that nobody prepared, and how the right one is found."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from dream_core.errors import WrapError
from dream_core.names import nearest_names
from dream_core.networks.layer_scan import Recording, first_tensor, record

__all__ = ["FEATURE_LAYOUTS", "MEL_LAYOUTS", "SAMPLE_LAYOUTS", "Layout", "find_layout"]

Layout = Callable[[Tensor], Tensor]


def _three(patches: Tensor) -> Tensor:
    return patches.unsqueeze(1).expand(-1, 3, *[-1] * (patches.ndim - 1))


MEL_LAYOUTS: Mapping[str, Layout] = {
    "channel_mel_time": lambda x: x.transpose(1, 2).unsqueeze(1),
    "rgb_mel_time": lambda x: _three(x.transpose(1, 2)),
    "time_mel": lambda x: x,
    "mel_time": lambda x: x.transpose(1, 2),
    "time_batch_mel": lambda x: x.transpose(0, 1),
    "channel_time_mel": lambda x: x.unsqueeze(1),
    "rgb_time_mel": _three,
    "flat": lambda x: x.flatten(1),
}
"""Of log-mel patches ``(n, frames, mels)``, in the order in which they are tried."""

SAMPLE_LAYOUTS: Mapping[str, Layout] = {
    "samples": lambda x: x,
    "channel_samples": lambda x: x.unsqueeze(1),
    "stereo_samples": lambda x: x.unsqueeze(1).expand(-1, 2, -1),
}
"""Of patches of samples ``(n, samples)``."""


def _swapped(x: Tensor) -> Tensor:
    if x.ndim < 3:
        raise ValueError("the features have one axis only")
    return x.transpose(-1, -2)


FEATURE_LAYOUTS: Mapping[str, Layout] = {
    "features": lambda x: x,
    "channel_features": lambda x: x.unsqueeze(1),
    "rgb_features": _three,
    "swapped_features": _swapped,
    "last_batch_features": lambda x: _swapped(x).transpose(0, 1),
}
"""Of what a callable made of patches: as it is, with one or three channels in front, its last two axes
swapped, and the last axis first with the batch second."""

_SHARE = 1e-3
"""How much of what changes in an item may be seen in another; an LSTM over the batch passes on far more."""


def find_layout(
    module: nn.Module, layouts: Mapping[str, Layout], wanted: str, probe: Tensor
) -> tuple[str, Recording, Recording]:
    """Return the first layout that a module takes, with its recordings of three items and of two.

    A layout is taken where the module runs and no item's result depends on the items beside it: a recurrent
    module that wants the batch second runs with it first as well, and hears one patch after the other.

    Args:
        module: The module, in evaluation mode.
        layouts: Those there are.
        wanted: The name of one, or ``auto``.
        probe: Five different items, ready for a layout.

    Raises:
        WrapError: No layout of that name, or none that the module takes.
    """
    if wanted != "auto" and wanted not in layouts:
        raise WrapError(f"layout = {wanted!r}; {nearest_names(str(wanted), ['auto', *layouts])}")
    tried = []
    for name in layouts if wanted == "auto" else [wanted]:
        try:
            three, two, changed = _try(module, layouts[name], probe)
        except Exception as error:  # whatever a stranger's module raises: this layout is not its own
            tried.append(f"{name} ({_few_words(error)})")
            continue
        problem = _problem(three, two, changed)
        if not problem:
            return name, three, two
        tried.append(f"{name} ({problem})")
    other = (
        "patch_s=... gives others"
        if probe.ndim == 2
        else ("front_end=FrontendSpec(sample_rate=..., n_mels=..., patch_frames=...) gives others")
    )
    raise WrapError(
        f"the module takes patches of {tuple(probe.shape[1:])} in none of the layouts tried ({other}): "
        f"{'; '.join(tried)}"
    )


def _try(module: nn.Module, layout: Layout, probe: Tensor) -> tuple[Recording, Recording, Tensor | None]:
    a, b, c, d, e = probe.unbind()

    def run(*items: Tensor) -> Recording:
        leaf = torch.stack(items).requires_grad_()
        return record(module, lambda: module(layout(leaf)))

    three = run(a, b, c)
    with torch.no_grad():
        changed = first_tensor(module(layout(torch.stack([d, b, e]))))
    return three, run(a, b), changed


def _problem(three: Recording, two: Recording, changed: Tensor | None) -> str:
    """Say why a layout that ran cannot be taken, or nothing."""
    whole, part = first_tensor(three.output), first_tensor(two.output)
    if whole is None or part is None or changed is None:
        kind = three.output.dtype if isinstance(three.output, Tensor) else type(three.output).__name__
        return f"it gave {kind}, no tensor of real numbers"
    axes = [
        axis
        for axis in range(whole.ndim)
        if whole.ndim == part.ndim and (whole.shape[axis], part.shape[axis]) == (3, 2)
    ]
    if len(axes) != 1:
        return f"3 items gave {tuple(whole.shape)}, in which they cannot be found"
    before, after = whole.detach().movedim(axes[0], 0), changed.movedim(axes[0], 0)
    if not bool(torch.isfinite(torch.view_as_real(before) if before.is_complex() else before).all()):
        return ""  # not a matter of layout; said by name later
    leak = (before[1] - after[1]).abs().max() if before[1].numel() else before.new_zeros(())
    change = (before - after).abs().max() if before.numel() else leak
    rounding = 64.0 * torch.finfo(before.dtype).eps * float(before.abs().max())
    if float(leak) > max(rounding, _SHARE * float(change)):
        return "an item's result depends on the items beside it"
    return ""


def _few_words(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # A compiled module's message ends with what went wrong, after the way there.
    text = next((line for line in reversed(lines) if "Error:" in line), lines[0] if lines else "")
    text = text or type(error).__name__
    return text if len(text) <= 64 else text[:61] + "..."
