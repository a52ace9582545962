"""The command line as Typer has it: one group of commands from the modules of this package."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Annotated

import typer

from bridge.cli.console import say
from bridge.installation import program_version

__all__ = ["build_app"]


def build_app(commands: Mapping[str, str], called: str | None = None) -> typer.Typer:
    """Build the command line.

    Args:
        commands: Each command's line in the help; ``bridge.cli.<name>`` holds it.
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
            bool,
            typer.Option(
                "--version", is_eager=True, callback=_say_version, help="Print the version and stop."
            ),
        ] = False,
    ) -> None:
        """Let sound dream: render stems through chains of dreams, effects and VST3 plugins."""

    for name, line in commands.items():
        if called is not None and name != called:
            app.command(name, help=line)(_not_called)
            continue
        group: typer.Typer = importlib.import_module(f"bridge.cli.{name}").app
        own = group.registered_commands
        if len(own) == 1 and own[0].name is None and own[0].callback is not None:
            app.command(name, help=line)(own[0].callback)
        else:
            app.add_typer(group, name=name, help=line)
    return app


def _not_called() -> None:
    """Stand for a command that is listed but was not called, so that its module need not be loaded."""


def _say_version(is_wanted: bool) -> None:
    if is_wanted:
        say(program_version())
        raise typer.Exit
