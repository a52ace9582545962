"""Print the rooms of both packages, the arrows between them, and what breaks their order.

    python tests/rooms.py

A room is a folder of a package, or a file at its top. An arrow is an import, also one inside a function or
for types alone. Rooms stand in an order; an arrow to a later room points up, and none may. Rooms between two
bars are one layer: they may use each other, as long as no circle comes of it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

ORDER = {
    "bridge": "errors arrays parameters files installation | clock | audio midi hosts "
    "| envelopes processors daw | presets | plan | render | report | datasets | cli",
    "dream_core": "errors names files runtime | dsp | frontend resynthesis frames | networks | objectives "
    "| settings | updates | loop | training",
}
"""Left never imports right."""

Arrow = tuple[str, str]
Graph = Mapping[str, frozenset[str]]


def layer_of(room: str) -> int | None:
    """Return a room's place in the order, such as that of ``bridge.audio``; None where it has none."""
    package, _, name = room.partition(".")
    layers = [layer.split() for layer in ORDER[package].split("|")]
    return next((index for index, layer in enumerate(layers) if name in layer), None)


def room_of(module: str) -> str:
    """Return the room of a module.

    >>> room_of("bridge.audio.writer")
    'bridge.audio'
    """
    return ".".join(module.split(".")[:2])


def files() -> dict[str, Path]:
    """Return the source files of both packages by module name."""
    found = {}
    for package in ORDER:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def names_imported(path: Path) -> set[str]:
    """Return the full names of all a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _module(name: str, known: Iterable[str]) -> str | None:
    return name if name in known else name.rpartition(".")[0] if name.rpartition(".")[0] in known else None


def imports() -> dict[str, frozenset[str]]:
    """Return what every module imports of both packages; the packages' own front doors are left out."""
    known = files()
    graph = {}
    for module, path in known.items():
        if module in ORDER:
            continue
        used = {_module(name, known) for name in names_imported(path)}
        graph[module] = frozenset(other for other in used if other and other != module)
    return graph


def rooms(graph: Graph) -> dict[str, frozenset[str]]:
    """Fold imports of modules into arrows between rooms."""
    folded: dict[str, set[str]] = {}
    for module, used in graph.items():
        mine = folded.setdefault(room_of(module), set())
        mine |= {room_of(other) for other in used if other not in ORDER} - {room_of(module)}
    return {room: frozenset(used) for room, used in folded.items()}


def arrows_up(graph: Graph) -> set[Arrow]:
    """Return the imports that go against the order, or from the dream core to the bridge."""
    return {(module, other) for module, used in graph.items() for other in used if _is_up(module, other)}


def _is_up(module: str, other: str) -> bool:
    own, its = room_of(module), room_of(other)
    if own.partition(".")[0] != its.partition(".")[0]:
        return own.startswith("dream_core")
    if other in ORDER:  # the package's front door gives what lies above
        return True
    own_layer, its_layer = layer_of(own), layer_of(its)
    return own_layer is not None and its_layer is not None and its_layer > own_layer


def circles(graph: Graph) -> list[list[str]]:
    """Return the groups of nodes that reach each other (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in graph:
        if node not in index:
            visit(node)
    return found


def main() -> int:
    """Print all of it; 1 where the order is broken."""
    graph = imports()
    folded = rooms(graph)
    for package in ORDER:
        for layer in ORDER[package].split("|"):
            for name in layer.split():
                if f"{package}.{name}" in folded:
                    uses = sorted(folded[f"{package}.{name}"])
                    print(f"{package}.{name:13} -> {' '.join(uses) or '(nothing)'}")
    homeless = sorted(room for room in folded if layer_of(room) is None)
    up, round_files, round_rooms = arrows_up(graph), circles(graph), circles(folded)
    print(f"\n{len(folded)} rooms, {sum(map(len, folded.values()))} arrows between them")
    print(f"{len(homeless)} without a place {homeless or ''}")
    print(f"{len(up)} arrows up {sorted(up) or ''}")
    print(f"{len(round_rooms)} circles of rooms {round_rooms or ''}")
    print(f"{len(round_files)} circles of files {round_files or ''}")
    return 1 if homeless or up or round_files or round_rooms else 0


if __name__ == "__main__":
    sys.exit(main())
