"""Make a network to dream with of any Torch module."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from dream_core.errors import WrapError
from dream_core.frontend.log_mel import FrontendSpec, LogMel
from dream_core.names import nearest_names
from dream_core.networks.card import NetworkCard
from dream_core.networks.layer_scan import ROOT, FoundLayer, find_layers
from dream_core.networks.layouts import FEATURE_LAYOUTS, MEL_LAYOUTS, SAMPLE_LAYOUTS, find_layout
from dream_core.networks.log_mel_network import LogMelNetwork
from dream_core.networks.wrapped_network import SampleHearing, WrappedNetwork

__all__ = ["wrap"]

_OUTPUT = "output"
_LOGITS = "logits"
"""What objectives call every network's outputs; no layer of another shape may bear the name."""

_PROBE_LEVELS = (0.1, 0.1, 0.1, 0.01, 0.3)
"""Those that stand in for others are louder or quieter: norms over the batch hear that."""
_LOWEST_HZ = 20.0

FrontEnd = LogMel | FrontendSpec | Callable[[Tensor], Tensor] | Literal["log_mel", "waveform"]


def wrap(
    module: nn.Module,
    *,
    sample_rate: int,
    front_end: FrontEnd = "log_mel",
    layers: Literal["auto"] | Sequence[str] | Mapping[str, str] = "auto",
    classes: Sequence[str] | None = None,
    name: str | None = None,
    layout: str = "auto",
    channel_axis: int | Mapping[str, int] | None = None,
    patch_s: float | None = None,
    band_hz: tuple[float, float] | None = None,
    outputs: Literal["exclusive", "independent"] = "exclusive",
    licence: str = "",
    source: str = "",
    title: str = "",
    description: str = "",
) -> WrappedNetwork:
    """Make a network of any module, ready for :func:`dream_core.dream`; nobody need have prepared it.

    The network is a copy of the module in evaluation mode with its weights fixed, so the module itself stays
    as it is and can be trained on. The copy is run on a little noise to find out how it takes patches, which
    of its submodules are layers and where their channels are. Layers bear the submodules' dotted names, as in
    ``layer:blocks.3.conv``; of a submodule that runs more than once the last call counts.

    A compiled module (``torch.jit.load``) runs as it is, but nobody can listen inside it: its only layer is
    ``output``, and where that has more axes than channels, `channel_axis` must say which.

    Args:
        module: Anything with a gradient from its input to its output.
        sample_rate: Hz, the rate the module wants its sound at; any sound is resampled to it.
        front_end: What the module looks at. ``log_mel``: natural logarithms of mel bands as `FrontendSpec`
            has them by default; a `LogMel` or a `FrontendSpec`: the same with other numbers; ``waveform``:
            the samples; a callable: what it makes of samples ``(n, samples)``, item by item. The callable
            must be differentiable: written in Torch, without ``detach`` or ``no_grad``.
        layers: ``auto`` for all submodules that can be layers, names of some, or a mapping of names of your
            own to theirs.
        classes: What the outputs are called; None calls them ``class_0`` and so on, ``()`` says that they
            are no classes. Outputs of more axes are averaged over all but the channels.
        name: What objectives and presets call the network; None takes the class's name in lower case.
        layout: How patches are handed to the module: ``auto`` takes the first that it runs with and that
            keeps patches apart. Of log-mel: ``channel_mel_time`` (n, 1, mels, frames), ``rgb_mel_time``
            (three equal channels), ``time_mel`` (n, frames, mels), ``mel_time``, ``time_batch_mel``
            (frames, n, mels), ``channel_time_mel``, ``rgb_time_mel``, ``flat``. Of samples: ``samples``
            (n, samples), ``channel_samples`` (n, 1, samples), ``stereo_samples``. Of a callable: ``features``
            as they are, ``channel_features``, ``rgb_features``, ``swapped_features`` (the last two axes),
            ``last_batch_features``. A module that runs either way round (many take any picture) cannot tell:
            say which it has learnt.
        channel_axis: Where the channels are in what a submodule gives, where that is told wrongly or not at
            all: one axis for all, or a mapping of submodule names (``output`` for the module itself).
        patch_s: How much the module looks at, in seconds; None takes 0.96 for ``log_mel`` and 1 for samples.
        band_hz: Lowest and highest frequency it hears; None takes the front end's, or 20 Hz to half the rate.
        outputs: Whether one class is heard at a time, or several may be.
        licence: For the card, like all that follow.
        source: Where module and weights come from.
        title: One line.
        description: What it hears and what it is good for.

    Returns:
        The network, on the module's device and in its type of numbers; ``to`` moves it. Its ``layout`` says
        how patches are handed on.

    Raises:
        WrapError: Something does not fit; the message says what. It is a ``TypeError`` too.

    >>> pool = nn.AdaptiveAvgPool2d(1)
    >>> net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), pool, nn.Flatten(), nn.Linear(8, 2))
    >>> network = wrap(net, sample_rate=16000, classes=["day", "night"])
    >>> network.layout, [(layer.name, layer.n_channels) for layer in network.card.layers]
    ('channel_mel_time', [('0', 8), ('1', 8), ('2', 8), ('3', 8), ('4', 2)])
    """
    _check(module, sample_rate, name, outputs)
    fixed = _fixed_copy(module, "the module")
    example = next((p for p in (*fixed.parameters(), *fixed.buffers()) if p.is_floating_point()), None)
    dtype = torch.float32 if example is None else example.dtype
    device = torch.device("cpu") if example is None else example.device
    called = name or getattr(module, "original_name", type(module).__name__).lower()
    card = NetworkCard(
        name=called,
        title=title,
        sample_rate=int(sample_rate),
        band_hz=(min(_LOWEST_HZ, sample_rate / 8.0), sample_rate / 2.0),
        patch_s=0.0,
        frame_s=0.0,
        layers=(),
        classes=(),
        n_parameters=0,
        licence=licence,
        source=source,
        weights="given",
        sha256="",
        description=description,
        outputs=outputs,
    )
    hearing, features, card = _front_end(front_end, card, patch_s)
    hearing.to(device=device, dtype=dtype if dtype == torch.float64 else torch.float32)
    if isinstance(features, nn.Module):
        features.to(device=device, dtype=dtype if dtype == torch.float64 else torch.float32)
    card = replace(card, band_hz=_band(band_hz, card))
    layouts = FEATURE_LAYOUTS if features else MEL_LAYOUTS if card.looks == "log_mel" else SAMPLE_LAYOUTS
    network = WrappedNetwork(fixed, card, hearing, features, dtype, device)
    # Whatever a module draws at random, the caller's own numbers stay as they were.
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.enable_grad():
        torch.manual_seed(0)
        probe = _probe(network)
        found_layout, three, two = find_layout(fixed, layouts, layout, probe)
    network.use_layout(found_layout, layouts[found_layout])
    axes = channel_axis
    if isinstance(channel_axis, Mapping):
        paths = {*dict(fixed.named_modules(remove_duplicate=False)), _OUTPUT} - {ROOT}
        for path in channel_axis:
            if path not in paths:
                near = nearest_names(str(path), sorted(paths))
                raise WrapError(f"channel_axis: no submodule is called {path!r}; {near}")
        axes = {ROOT if _is_root(path, fixed) else path: axis for path, axis in channel_axis.items()}
    found = find_layers(three, two, axes)
    whole = found.pop(ROOT)
    names, output = _classes(whole, classes)
    network.set_layers(_choose(layers, fixed, found, whole), output, names)
    if not network.card.layers and not network.card.classes:
        raise WrapError(
            f"{name or type(module).__name__} has nothing to dream on: no layer whose channels are known, no "
            "classes; say where its output has its channels by channel_axis=..., or name its classes"
        )
    return network


def _check(module: object, sample_rate: object, name: object, outputs: object) -> None:
    """Refuse what can be seen to be wrong without running anything."""
    if not isinstance(module, nn.Module):
        hint = ""
        if isinstance(module, type) or callable(module):
            hint = "; give an instance, as in wrap(Net())"
        elif isinstance(module, (str, Path)):
            hint = "; load it first, as by torch.jit.load"
        raise WrapError(f"the module is {_kind(module)}; a torch.nn.Module is accepted{hint}")
    if (
        not isinstance(sample_rate, int)
        or isinstance(sample_rate, bool)
        or not 1000 <= sample_rate <= 1 << 20
    ):
        raise WrapError(f"sample_rate = {sample_rate!r}; a whole number of Hz from 1000 is accepted")
    if name is not None and not (isinstance(name, str) and re.fullmatch(r"\w[\w.-]*", name)):
        raise WrapError(f"name = {name!r}; letters, digits, _, . and - are accepted")
    if outputs not in ("exclusive", "independent"):
        raise WrapError(f"outputs = {outputs!r}; {nearest_names(str(outputs), ['exclusive', 'independent'])}")


def _kind(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"of type {type(value).__name__}"


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _fixed_copy(module: nn.Module, what: str) -> nn.Module:
    """Copy a module, fix its weights, and have nothing in it differ between hearing and learning."""
    if any(nn.parameter.is_lazy(parameter) for parameter in module.parameters()):
        raise WrapError(f"{what} has lazy weights that are not there yet; run it once, then wrap it")
    memo: dict[int, object] = {}
    for part in module.modules():
        for value in vars(part).values():
            # What is computed from weights (as by weight norm) is no leaf, and Torch copies only leaves.
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    try:
        with torch.no_grad():  # compiled modules copy their weights as a computation
            fixed = copy.deepcopy(module, memo)
    except Exception as error:  # whatever a stranger's module holds
        raise WrapError(f"{what} cannot be copied: {_first_line(error)}") from error
    with suppress(NotImplementedError):  # exported programs are in one mode for good
        fixed.eval()
    for parameter in fixed.parameters():  # compiled modules have no requires_grad_ of their own
        parameter.requires_grad_(False)
    for part in fixed.modules():
        if isinstance(part, nn.RNNBase):
            part.dropout = 0.0
    return fixed


def _front_end(
    front_end: object, card: NetworkCard, patch_s: float | None
) -> tuple[LogMelNetwork | SampleHearing, Callable[[Tensor], Tensor] | None, NetworkCard]:
    """Return what listens, what is made of its patches, and the card with its times."""
    rate = card.sample_rate
    is_number = isinstance(patch_s, int | float) and not isinstance(patch_s, bool)
    if patch_s is not None and not (is_number and 1.0 / rate <= patch_s <= 3600.0):
        raise WrapError(f"patch_s = {patch_s!r}; a length in seconds, one sample to an hour, is accepted")
    if isinstance(front_end, LogMel | FrontendSpec) or (
        isinstance(front_end, str) and front_end == "log_mel"
    ):
        if isinstance(front_end, str):
            spec = FrontendSpec(sample_rate=rate)
            if patch_s is not None:
                n_frames = max(1, round(patch_s * rate / spec.hop_samples))
                spec = replace(spec, patch_frames=n_frames, patch_hop_frames=0)
        elif patch_s is not None:
            raise WrapError(f"patch_s = {patch_s!r} beside a LogMel, which has patch_frames; leave one out")
        else:
            spec = front_end.spec if isinstance(front_end, LogMel) else front_end
        if spec.sample_rate != rate:
            raise WrapError(f"sample_rate = {rate}, but the LogMel's is {spec.sample_rate}; give the same")
        card = replace(
            card,
            band_hz=(spec.f_min_hz, spec.f_max_hz),
            patch_s=spec.patch_samples / rate,
            frame_s=spec.hop_samples / rate,
            looks="log_mel",
        )
        hearing = LogMelNetwork(card, spec)
        if isinstance(front_end, LogMel):
            hearing.log_mel = copy.deepcopy(front_end)
        return hearing, None, card
    if isinstance(front_end, str) and front_end != "waveform":
        raise WrapError(f"front_end = {front_end!r}; {nearest_names(front_end, ['log_mel', 'waveform'])}")
    features: Callable[[Tensor], Tensor] | None = None
    if isinstance(front_end, nn.Module):
        features = _fixed_copy(front_end, "the front end")
    elif callable(front_end) and not isinstance(front_end, type):
        features = front_end
    elif not isinstance(front_end, str):
        raise WrapError(
            f"the front end is {_kind(front_end)}; a LogMel, a callable, 'log_mel' or 'waveform' is accepted"
        )
    samples = SampleHearing(rate, max(1, round((1.0 if patch_s is None else patch_s) * rate)))
    card = replace(
        card,
        patch_s=samples.patch_samples / rate,
        frame_s=samples.step_samples / rate,
        looks="waveform",
    )
    return samples, features, card


def _band(band_hz: object, card: NetworkCard) -> tuple[float, float]:
    if band_hz is None:
        return card.band_hz
    try:
        low, high = (float(edge) for edge in band_hz)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        low = high = math.nan
    if not 0.0 <= low < high <= card.sample_rate / 2.0:
        raise WrapError(
            f"band_hz = {band_hz!r}; two frequencies in Hz, 0 to {card.sample_rate / 2:g}, low first"
        )
    return low, high


def _probe(network: WrappedNetwork) -> Tensor:
    """Return five patches of noise, ready for a layout; the front end must let a gradient through."""
    n_samples = round(network.card.patch_s * network.card.sample_rate)
    # Drawn on the CPU, so that every device gets the same.
    noise = torch.randn(5, n_samples, generator=torch.Generator().manual_seed(0))
    noise = noise * torch.tensor(_PROBE_LEVELS)[:, None]
    leaf = noise.to(network.device).requires_grad_()
    patches = network.listen(leaf)[:, 0]
    if network.features is None:
        return network.prepare(patches).detach()
    try:
        features = network.prepare(patches)
    except Exception as error:  # whatever a stranger's function raises
        shape = tuple(patches.shape)
        raise WrapError(f"the front end fails on samples {shape}: {_first_line(error)}") from error
    if features.ndim < 2 or features.shape[0] != 5:
        raise WrapError(f"the front end makes {tuple(features.shape)} of 5 patches; (5, ...) is accepted")
    gradient = (
        torch.autograd.grad(features.abs().sum(), leaf)[0] if features.requires_grad else torch.zeros(())
    )
    if not bool(gradient.any()) or not bool(torch.isfinite(gradient).all()):
        raise WrapError(
            "no gradient comes back through the front end; it must be differentiable, written in Torch, "
            "without detach or no_grad"
        )
    return features.detach()


def _classes(whole: FoundLayer, classes: Sequence[str] | None) -> tuple[tuple[str, ...], FoundLayer | None]:
    """Return the classes' names and where the logits are; None where it has no classes."""
    if whole.is_complex:
        raise WrapError("the module gives complex numbers; have it give their magnitudes, for example")
    if not whole.is_finite:
        raise WrapError("the module gives values that are not finite on quiet noise; look at its weights")
    if isinstance(classes, str):
        raise WrapError(f"classes = {classes!r}; a list of names is accepted")
    names = None if classes is None else tuple(classes)
    if names is not None and not names:
        return (), None
    if whole.problem:
        is_other = len(whole.shape) < 2 or "gradient" in whole.problem
        hint = "; where its outputs are no classes, say classes=()" if is_other else ""
        raise WrapError(f"the module {whole.problem}{hint}")
    n_outputs = whole.n_channels
    if names is None:
        return tuple(f"class_{i}" for i in range(n_outputs)), whole
    odd = next((one for one in names if not isinstance(one, str) or not one.isprintable() or not one), None)
    if odd is not None:
        raise WrapError(f"classes: {odd!r} is not a name")
    if len(names) != n_outputs:
        raise WrapError(f"classes has {len(names)} names, but the module has {n_outputs} outputs")
    if len({one.casefold() for one in names}) != len(names):
        raise WrapError("classes: two of the names are the same")
    return names, whole


def _is_root(path: str, module: nn.Module) -> bool:
    """Say whether a layer's path means the whole module: it is called output, unless a submodule is."""
    return path == _OUTPUT and _OUTPUT not in dict(module.named_modules(remove_duplicate=False))


def _choose(
    layers: object, module: nn.Module, found: Mapping[str, FoundLayer], whole: FoundLayer
) -> dict[str, FoundLayer]:
    """Return the layers by the names they get."""
    if isinstance(layers, str):
        if layers != "auto":
            raise WrapError(f"layers = {layers!r}; 'auto', a list or a mapping of names is accepted")
        chosen = {path: one for path, one in found.items() if not one.problem and path != _LOGITS}
        if not whole.problem and _is_root(_OUTPUT, module) and (len(whole.shape) > 2 or not chosen):
            chosen[_OUTPUT] = whole
        return chosen
    if not isinstance(layers, Mapping | Sequence):
        raise WrapError(f"layers is {_kind(layers)}; 'auto', a list or a mapping of names is accepted")
    wanted = dict(layers) if isinstance(layers, Mapping) else {path: path for path in layers}
    return {name: _named(name, path, module, found, whole) for name, path in wanted.items()}


def _named(
    name: object, path: object, module: nn.Module, found: Mapping[str, FoundLayer], whole: FoundLayer
) -> FoundLayer:
    """Return one layer that was asked for, or say why it cannot be."""
    if not isinstance(name, str) or not isinstance(path, str) or not name:
        raise WrapError(f"layers: {name!r}: {path!r} are not two names")
    if name == _LOGITS:
        raise WrapError("layers: 'logits' is what every network's outputs are called; give it another name")
    paths = {p: part for p, part in module.named_modules(remove_duplicate=False) if p}
    layer = whole if _is_root(path, module) else None
    is_compiled = isinstance(module, torch.jit.ScriptModule)
    if layer is None and path in paths:
        # A module in two places has two names, and is one layer.
        layer = next((one for one in found.values() if one.module is paths[path]), None)
        if layer is None:
            raise WrapError(
                f"layers: submodule {path!r} does not run by itself, so nobody can listen to it"
                + ("; inside a compiled module none does, its only layer is 'output'" if is_compiled else "")
            )
    if layer is None:
        near = nearest_names(path, [_OUTPUT] if is_compiled else [*paths, _OUTPUT])
        raise WrapError(f"layers: no submodule is called {path!r}; {near}")
    if layer.problem:
        raise WrapError(f"layers: {path!r} {layer.problem}")
    return layer
