"""`reverie processors`: what a chain can hold, and every parameter of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridge.cli.console import print_json, print_table, say
from bridge.cli.shared_options import JsonOption

if TYPE_CHECKING:
    from bridge.parameters import ParamSpec

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)

_MOVES = {"sample": "at every sample", "block": "block by block", "none": "no"}


@app.callback()
def group() -> None:
    """List the nodes of a chain, and show what each can be told."""


@app.command("list")
def list_command(as_json: JsonOption = False) -> None:
    """List every processor a preset can use."""
    from bridge.processors.catalogue import processor_titles

    titles = dict(sorted(processor_titles().items()))
    if as_json:
        print_json(titles)
        return
    rows = [
        (name, title, "the plugin's" if name == "vst3" else len(_parameters(name)))
        for name, title in titles.items()
    ]
    print_table(("name", "what it does", "parameters"), rows)


@app.command("show")
def show_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As a preset has it in `use`.")],
    as_json: JsonOption = False,
) -> None:
    """Show a processor's parameters: unit, range, default, whether a route can move them, and their help."""
    from bridge.processors.catalogue import processor_titles

    parameters = _parameters(name)
    title = processor_titles()[name]
    if as_json:
        data = {spec.name: _row(spec) for spec in parameters}
        print_json({"name": name, "title": title, "parameters": data})
        return
    say(f"{name}: {title}")
    if name == "vst3":
        say("its parameters are the plugin's own: reverie plugins show NAME")
    rows = [
        (spec.name, spec.unit, _value(spec.default), _MOVES[spec.automation], _range(spec))
        for spec in parameters
    ]
    helps = [spec.help for spec in parameters]
    print_table(("parameter", "unit", "default", "moves", "range"), rows, details=helps)


def _parameters(name: str) -> list[ParamSpec]:
    """Return what a node of a processor can be told; every node has a mix."""
    from bridge.presets.model import NodeSpec, node_parameters
    from bridge.processors.catalogue import processor_parameters

    if name != "vst3":
        processor_parameters(name)  # says what there is, where there is none of this name
    specs = node_parameters(NodeSpec(id="node", use=name))
    return sorted(specs.values(), key=lambda spec: spec.name == "mix")


def _row(spec: ParamSpec) -> dict[str, Any]:
    return {
        "unit": spec.unit,
        "minimum": spec.minimum,
        "maximum": spec.maximum,
        "choices": list(spec.choices),
        "default": spec.default,
        "automation": spec.automation,
        "help": spec.help,
    }


def _range(spec: ParamSpec) -> str:
    if spec.choices:
        return ", ".join(spec.choices)
    if isinstance(spec.default, bool):
        return "true, false"
    if isinstance(spec.default, str):
        return "a text"
    low = "" if spec.minimum is None else f"{spec.minimum:g}"
    high = "" if spec.maximum is None else f"{spec.maximum:g}"
    return f"{low}..{high}"


def _value(value: float | bool | str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, str) else f"{value:g}"
