"""The command line: parse, call one function, print.

Only the module of the command that is called is imported, so that ``reverie --help`` answers at once. What a
user can cause ends in one line on standard error and an exit code: 1 failed, 2 bad usage or input, 3 some
stems failed, 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import metadata
from typing import Annotated

import typer

__all__ = ["COMMANDS", "build_app", "main"]

COMMANDS: dict[str, str] = {
    "render": "Render stems through presets.",
    "batch": "Render every job of a list.",
    "plan": "Say what a render would do, and what it would cost; write nothing.",
    "presets": "List, show and check presets.",
    "networks": "List, show and install the networks sounds are dreamed with.",
    "plugins": "Scan, list, show and check VST3 plugins.",
    "midi": "Look into a MIDI file as a render reads it.",
    "envelope": "See what moves a preset over a song, or send it to a DAW.",
    "session": "Look into a DAW's session, and hand rendered stems back to it.",
    "verify": "Render a manifest again and say whether it is the same.",
    "compare": "Null-test two files or folders.",
    "report": "Write a render's report as one HTML file.",
    "doctor": "Use each part once; say what works, what does not and how to mend it.",
}
"""Every command and its line in the help; ``bridge.cli.<name>`` holds it."""

INTERRUPTED = 130


def build_app(called: str | None = None) -> typer.Typer:
    """Build the command line.

    Args:
        called: The one command whose module is imported; None imports all.
    """
    app = typer.Typer(
        name="reverie",
        help="Let sound dream: render stems through chains of dreams, effects and VST3 plugins.",
        no_args_is_help=True,
        add_completion=called is None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def root(
        version: Annotated[
            bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Say it and stop.")
        ] = False,
    ) -> None:
        """Let sound dream: render stems through chains of dreams, effects and VST3 plugins."""

    for name, line in COMMANDS.items():
        if called is not None and name != called:
            app.command(name, help=line)(_not_called)
            continue
        group: typer.Typer = importlib.import_module(f"bridge.cli.{name}").app
        commands = group.registered_commands
        if len(commands) == 1 and commands[0].name is None and commands[0].callback is not None:
            app.command(name, help=line)(commands[0].callback)
        else:
            app.add_typer(group, name=name, help=line)
    return app


def _not_called() -> None:
    """Stand for a command that is listed but was not called, so that its module need not be loaded."""


def _say_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(metadata.version("reverie-audio"))
        raise typer.Exit


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        argv: Arguments without the program's name; None takes the process's own.
    """
    # Threads that spin while they wait starve a busy machine; this must be set before Torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments = list(sys.argv[1:] if argv is None else argv)
    is_debugging = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    called = next((argument for argument in arguments if not argument.startswith("-")), "")
    wants_all = "_REVERIE_COMPLETE" in os.environ or "--show-completion" in arguments
    command = typer.main.get_command(build_app(None if wants_all else called))
    try:
        code = command.main(arguments, prog_name="reverie", standalone_mode=False)
    except Exception as error:
        if is_debugging:
            raise
        return _explain(error)
    if code == INTERRUPTED:
        return _say("stopped; what was finished stays, the same command goes on from there", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _explain(error: Exception) -> int:
    """Print an error in one line and return its exit code; what nobody foresaw keeps its traceback."""
    broken = _unloadable_package(error)
    if broken is not None:
        from bridge.cli.probes import mending_command, reason

        remedy = f"`{mending_command(broken, error)}` may mend it, `reverie doctor` says what else is wrong"
        return _say(f"{broken} cannot be loaded: {reason(error)}; {remedy}", 1)
    if isinstance(error, OSError):
        return _say(f"{error.filename or 'a file'}: {error.strerror or error}", 1)
    if hasattr(error, "format_message") and not error.format_message():
        return 2  # called with nothing: the help has been printed
    if hasattr(error, "format_message"):
        return _say(f"{error.format_message()} See `reverie --help` and `reverie COMMAND --help`.", 2)
    from bridge.errors import ReverieError
    from dream_core.errors import DreamError

    if isinstance(error, ReverieError):
        return _say(str(error), error.exit_code)
    if isinstance(error, DreamError):
        return _say(str(error), 2)
    raise error


def _unloadable_package(error: Exception) -> str | None:
    """Name the foreign package that failed while it was being imported, if that is what happened."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return error.name.partition(".")[0]
    imported = [
        str(frame.f_globals.get("__name__", "")).partition(".")[0]
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_name == "<module>"
    ]
    foreign = [package for package in imported if package not in ("bridge", "dream_core", "__main__")]
    return foreign[-1] if foreign else None


def _say(line: str, code: int) -> int:
    sys.stderr.write(f"reverie: {line}\n")
    return code
