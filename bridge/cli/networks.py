"""`reverie networks`: which networks there are, what they hear, and where weights come from."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.console import note, open_bars, print_json, print_table, say, warn
from bridge.cli.shared_options import JsonOption
from bridge.errors import InputError

if TYPE_CHECKING:
    from dream_core.networks.card import NetworkCard

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A network, e.g. timbre.")]
ImportableArgument = Annotated[str, typer.Argument(metavar="NAME", help="A network: yamnet.")]
ClassesOption = Annotated[
    Path | None,
    typer.Option("--classes", metavar="CSV", help="AudioSet's yamnet_class_map.csv: names for the classes."),
]


@app.command("list")
def list_command(as_json: JsonOption = False) -> None:
    """List every network: what it hears, and whether its weights are here."""
    from dream_core.networks.registry import is_ready, list_damaged, list_networks

    cards = sorted(list_networks(), key=lambda card: card.name.casefold())
    for line in list_damaged():
        warn(f"left out: {line}")
    if as_json:
        print_json([{**asdict(card), "ready": is_ready(card.name)} for card in cards])
        return
    rows = []
    for card in cards:
        state = card.weights if is_ready(card.name) else "not installed"
        rows.append((card.name, state, f"{card.sample_rate} Hz", len(card.layers), len(card.classes)))
    titles = [card.title for card in cards]
    print_table(("name", "weights", "rate", "layers", "classes"), rows, details=titles)


@app.command("show")
def show_command(name: NameArgument, as_json: JsonOption = False) -> None:
    """Show a network's card: its layers and classes are what a preset may name."""
    from dream_core.networks.registry import get_card, is_ready

    card = get_card(name)
    if as_json:
        print_json({**asdict(card), "ready": is_ready(name)})
        return
    for line in _card_lines(card):
        say(line)
    if not is_ready(name):
        note(f"weights: not installed; call: reverie networks get {name}")


def _card_lines(card: NetworkCard) -> list[str]:
    lowest_hz, highest_hz = card.band_hz
    return [
        f"{card.name}: {card.title}",
        *card.description.splitlines(),
        "",
        f"hears       {lowest_hz:g} to {highest_hz:g} Hz at {card.sample_rate} Hz",
        f"looks at    {card.patch_s:.2f} s at a time, a frame every {1000 * card.frame_s:.1f} ms",
        f"parameters  {card.n_parameters:,}",
        f"weights     {card.weights}" + (f", sha256 {card.sha256}" if card.sha256 else ""),
        f"licence     {card.licence}",
        f"source      {card.source}",
        "layers      " + ", ".join(f"{layer.name} ({layer.n_channels})" for layer in card.layers),
        "classes     " + (", ".join(card.classes) or "none"),
    ]


@app.command("import")
def import_command(
    name: ImportableArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Weights: .h5, .pth or .safetensors.")],
    classes: ClassesOption = None,
) -> None:
    """Install a network's weights from a file you have."""
    from dream_core.networks import yamnet_files

    _check_importable(name)
    _report_installed(yamnet_files.install(file, classes), has_names=classes is not None)


@app.command("get")
def get_command(
    name: ImportableArgument,
    classes: ClassesOption = None,
    address: Annotated[str, typer.Option(help="Where to fetch from, if not the official address.")] = "",
    again: Annotated[bool, typer.Option("--again", help="Fetch although weights are installed.")] = False,
) -> None:
    """Fetch a network's weights from their official address and install them."""
    from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn

    from dream_core.networks import yamnet_files

    _check_importable(name)
    if yamnet_files.is_installed() and not again:
        note(f"{name} is installed; --again fetches it anew")
        return
    if classes is not None and not classes.is_file():  # before much is fetched
        raise InputError(f"--classes {classes}: no such file; it is AudioSet's yamnet_class_map.csv")
    address = address or yamnet_files.OFFICIAL_ADDRESS
    progress = open_bars(BarColumn(), DownloadColumn(), TimeRemainingColumn())
    task = progress.add_task(name, total=None)
    # No progress bar, and no empty line after one, where output is not a terminal.
    with progress if progress.console.is_terminal else nullcontext():
        installed = yamnet_files.fetch(
            classes,
            address=address,
            report=lambda done, total: progress.update(task, completed=done, total=total),
        )
    _report_installed(installed, has_names=classes is not None)


def _check_importable(name: str) -> None:
    from dream_core.networks.registry import get_card

    card = get_card(name)
    if card.weights != "import":
        raise InputError(
            f"{name}'s weights are {card.weights}, there is nothing to install; only yamnet needs this"
        )


def _report_installed(path: Path, *, has_names: bool) -> None:
    from dream_core.networks import yamnet_files

    record = yamnet_files.read_record()
    say(str(path))
    note(f"sha256 {record['sha256']} (source: {record['source_sha256']})")
    if not has_names:
        note(
            "classes go by number, class_0 to class_520; "
            "import again with --classes yamnet_class_map.csv to name them"
        )
