"""Changes to a preset, as variations hold them and the command line writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from bridge.envelopes.schema import modulator_keys
from bridge.errors import PresetError, ProcessorError, escape, nearest_names
from bridge.parameters import ParamValue, check_parameter
from bridge.presets.model import NodeSpec, Preset, node_parameters, parse_preset
from bridge.presets.policies import LevelPolicy, TailPolicy
from bridge.processors.catalogue import processor_parameters

__all__ = ["apply_settings", "find_overruled", "parse_value"]

_POLICIES: Mapping[str, type[BaseModel]] = {"level": LevelPolicy, "tail": TailPolicy}


def apply_settings(
    preset: Preset,
    settings: Iterable[str] = (),
    variation: str | None = None,
) -> Preset:
    """Return the preset with a variation and ``node.param=value`` settings applied, in this order.

    Args:
        preset: Stays as it is.
        settings: As written on the command line: ``dream.depth=4``, ``dream.mix=0.5``, ``macro.depth=0.8``,
            ``level.mode=keep``, ``tail.mode=auto``; a modulator's field by its id, ``swell.rate=1/8T``.
        variation: Name of one of the preset's variations.

    Raises:
        PresetError: Unknown variation, node, parameter, macro or field, or a value out of range.
    """
    pairs: list[tuple[str, ParamValue, str]] = []
    if variation is not None:
        known = {one.name: one for one in preset.variations}
        if variation not in known:
            raise PresetError(
                f"preset {preset.meta.name!r} has no variation {variation!r}; "
                f"{nearest_names(variation, known)}"
            )
        chosen = known[variation]
        where = f"variation {variation!r}"
        pairs += [(key, value, where) for key, value in chosen.set.items()]
        pairs += [(f"macro.{key}", value, where) for key, value in chosen.macros.items()]
    for text in settings:
        if escape(text) != text:
            raise PresetError(
                f"--set {text!r}: holds what is no text: a control character, or half a character"
            )
        key, equals, written = text.partition("=")
        if not equals:
            raise PresetError(f"--set {text!r}: write node.param=value, for example dream.depth=4")
        value = parse_value(written.strip())
        if isinstance(value, float) and _wants_text(preset, key.strip()):
            value = written.strip()
        pairs.append((key.strip(), value, f"--set {text!r}"))
    data = preset.to_dict()
    # Objectives first: they decide which weights can be set.
    for key, value, where in sorted(pairs, key=lambda pair: not pair[0].endswith((".objective", ".each"))):
        _apply(data, preset, key, value, where)
    for node, changed in zip(preset.chain, data["chain"], strict=True):
        _drop_weights(data, preset, node, changed["params"])
    changes = ", ".join(dict.fromkeys(where for _, _, where in pairs))
    return parse_preset(data, f"{preset.meta.name} with {changes}" if changes else preset.meta.name)


def find_overruled(preset: Preset, settings: Iterable[str]) -> tuple[str, ...]:
    """Say which settings are without effect, because a route replaces what they set."""
    replaced = {route.target: route.source for route in preset.routes if route.op == "replace"}
    return tuple(
        f"--set {key}: without effect, the route from {replaced[key]!r} replaces it"
        for key in (text.partition("=")[0].strip() for text in settings)
        if key in replaced
    )


def _apply(data: dict[str, Any], preset: Preset, key: str, value: ParamValue, where: str) -> None:
    owner, _, name = key.partition(".")
    nodes = [node.id for node in preset.chain]
    modulators = [modulator.id for modulator in preset.modulators]
    if not name and not (owner == "macro" and not preset.macros):
        raise PresetError(f"{where}: {_what_is_missing(preset, owner, name)}")
    if owner == "macro":
        _apply_to_macro(data, preset, name, value, where)
    elif owner in _POLICIES:
        if name not in _POLICIES[owner].model_fields:
            accepted = nearest_names(name, _POLICIES[owner].model_fields)
            raise PresetError(f"{where}: [{owner}] has no {name!r}; {accepted}")
        data.setdefault(owner, {})[name] = value
    elif owner in nodes:
        index = nodes.index(owner)
        changed = preset.chain[index].model_copy(update={"params": data["chain"][index]["params"]})
        _apply_to_node(data["chain"][index], changed, preset.midi_map, name, value, where)
    elif owner in modulators:
        data["modulators"][modulators.index(owner)][name] = value  # checked when the preset is read again
    else:
        raise PresetError(f"{where}: {_what_is_missing(preset, owner, name)}")


def _what_is_missing(preset: Preset, owner: str, name: str) -> str:
    """Say what a key lacks that names nothing: the parameter, the node, or the right name."""
    targets = _targets(preset)
    names = targets.get(owner)
    if names is not None:
        return f"{owner!r} has several settings, say which: {owner}.NAME=value; {nearest_names(name, names)}"
    if name:
        return f"no node {owner!r}; {nearest_names(owner, targets)}"
    meant = [f"{one}.{owner}" for one, its_names in targets.items() if owner in its_names]
    if meant:
        return f"which {owner!r}? Did you mean {' or '.join(meant)}?"
    return f"{owner!r} is no setting; write node.param=value; {nearest_names(owner, targets)}"


def _wants_text(preset: Preset, key: str) -> bool:
    """Say whether what a key sets is text, also where it looks like a number."""
    owner, _, name = key.partition(".")
    for node in preset.chain:
        if node.id == owner and node.use != "vst3":
            spec = node_parameters(node, preset.midi_map).get(name)
            return spec is not None and isinstance(spec.default, str) and not spec.choices
    return False


def _targets(preset: Preset) -> dict[str, list[str]]:
    """Return what can be set: names by what they belong to."""
    targets = {node.id: list(node_parameters(node, preset.midi_map)) for node in preset.chain}
    for modulator in preset.modulators:
        names = modulator_keys([modulator.type])
        targets[modulator.id] = [name for name in names if name not in ("id", "type")]
    if preset.macros:
        targets["macro"] = [macro.id for macro in preset.macros]
    return targets | {name: list(policy.model_fields) for name, policy in _POLICIES.items()}


def _apply_to_macro(data: dict[str, Any], preset: Preset, name: str, value: ParamValue, where: str) -> None:
    for macro in data["macros"]:
        if macro["id"] == name:
            macro["value"] = value
            return
    if not preset.macros:
        raise PresetError(f"{where}: this preset has no macros")
    known = [macro.id for macro in preset.macros]
    raise PresetError(f"{where}: no macro {name!r}; {nearest_names(name, known)}")


def _drop_weights(
    data: dict[str, Any], preset: Preset, node: NodeSpec, params: dict[str, ParamValue]
) -> None:
    """Take out what moved or set weights that went with an objective which another one has replaced."""
    if all(params.get(name) == node.params.get(name) for name in ("objective", "each")):
        return
    try:
        known = node_parameters(node.model_copy(update={"params": params}), preset.midi_map)
    except ProcessorError:
        return  # which is said where the preset is read
    gone = node_parameters(node, preset.midi_map).keys() - known.keys()
    targets = {f"{node.id}.{name}" for name in gone}
    for name in gone & params.keys():
        del params[name]
    data["routes"] = [route for route in data["routes"] if route["target"] not in targets]
    data["midi_map"] = {
        key: target
        for key, target in data["midi_map"].items()
        if isinstance(target, dict) or target not in targets
    }


def _apply_to_node(
    data: dict[str, Any],
    node: NodeSpec,
    midi_map: Mapping[str, Any],
    name: str,
    value: ParamValue,
    where: str,
) -> None:
    if name == "enabled":
        if value not in (True, False):
            raise PresetError(f"{where}: {node.id}.enabled is true or false")
        data["enabled"] = bool(value)
        return
    if node.use != "vst3":
        try:
            value = check_parameter(name, value, node_parameters(node, midi_map), node.id)
        except ProcessorError as error:
            raise PresetError(f"{where}: {error}") from None
    own = name != "mix" or (node.use != "vst3" and "mix" in processor_parameters(node.use))
    if own:
        data["params"][name] = value
    else:
        data["mix"] = value


def parse_value(text: str) -> ParamValue:
    """Read a value as the command line writes one: true, false, 50%, a number, or a choice.

    >>> parse_value("50%"), parse_value("-6"), parse_value("Invert")
    (0.5, -6.0, 'Invert')
    """
    if text in ("true", "false"):
        return text == "true"
    if text.endswith("%"):
        try:
            return float(text[:-1]) / 100.0
        except ValueError:
            return text
    try:
        return float(text)
    except ValueError:
        # Quotes around the whole go; those of a name inside, as in class:"no vocals", stay.
        is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and text[0] not in text[1:-1]
        return text[1:-1] if is_quoted else text
