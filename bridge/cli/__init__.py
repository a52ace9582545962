"""The command line: parse, call one function, print.

One module a command, called as the command is. Only the module of the command that is called is imported,
so that ``reverie --help`` answers at once. What a user can cause ends in one line on standard error and an
exit code: 1 failed, 2 bad usage or input, 3 some stems failed, 130 interrupted.

- `app`             the commands as Typer has them
- `shared_options`  options that several commands share; `job_options` those made from a job or a clock
- `networks_hear`   one of `networks`' commands; `networks_train`, `networks_search`, `networks_runs`,
  `networks_judge` and `networks_frames` are others, `train_options` what they share, `networks_told`
  what they tell
- `plugins_installed`  four of `plugins`' commands; `plugins_edit` one more
- `render_jobs`     what `render`, `imagine`, `batch` and `edit` do alike
- `console`         all that is printed goes through it
- `quantities`      ``-6 dB``, ``40%`` and the like
- `probes`          what `doctor` tries
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import Any

from bridge.cli.console import accept_all_text, note
from bridge.installation import reason_of, repair_command, unloadable_package

__all__ = ["COMMANDS", "main"]

COMMANDS: dict[str, str] = {
    "render": "Render stems through presets.",
    "imagine": "Dream from nothing: noise or an instrument through a preset.",
    "batch": "Render every job of a list.",
    "edit": "Render a file in its own place, for a DAW's external editor; --undo puts it back.",
    "watch": "Render whatever is put into a folder.",
    "plan": "Show what a render would do, and what it would cost; write nothing.",
    "presets": "List, show and check presets.",
    "processors": "List the nodes of a chain, and show what each can be told.",
    "networks": "List, show, install and train networks, and tell what they hear in stems.",
    "data": "Make data sets of recordings to train networks on: scan, render, prepare, show.",
    "plugins": "Scan, list, show, check, block and edit VST3 plugins.",
    "midi": "Show a MIDI file as a render reads it, or write what a network hears as one.",
    "envelope": "Draw a preset's envelopes over a song, or export them for a DAW.",
    "session": "Show a DAW's session, and write rendered stems back to it.",
    "verify": "Render a manifest again and say whether it is the same.",
    "compare": "Null-test two files or folders.",
    "report": "Write a render's report as one HTML file.",
    "doctor": "Try each part once; report what works, what does not and how to fix it.",
}
"""Every command and its line in the help; ``bridge.cli.<name>`` holds it."""

INTERRUPTED = 130
# What no other path or permission would help against.
_NOT_THEIRS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        argv: Arguments without the program's name; None takes the process's own.
    """
    # Threads that spin while they wait starve a busy machine; this must be set before Torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    accept_all_text()
    arguments = list(sys.argv[1:] if argv is None else argv)
    is_debugging = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    called = next((argument for argument in arguments if not argument.startswith("-")), "")
    wants_all = "_REVERIE_COMPLETE" in os.environ or "--show-completion" in arguments
    try:
        import typer

        from bridge.cli.app import build_app

        command = typer.main.get_command(build_app(COMMANDS, None if wants_all else called))
        code = command.main(arguments, prog_name="reverie", standalone_mode=False)
    except Exception as error:
        if is_debugging and not hasattr(error, "format_message"):
            raise
        return _explain(error, arguments)
    if code == INTERRUPTED:
        return _fail("stopped; finished stems are kept, run the same command again to continue", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _explain(error: Exception, arguments: Sequence[str]) -> int:
    """Print an error in one line and return its exit code; unexpected errors keep their traceback."""
    broken = unloadable_package(error)
    if broken is not None:
        remedy = f"`{repair_command(broken, error)}` may fix it, `reverie doctor` shows what else is wrong"
        return _fail(f"{broken} cannot be loaded: {reason_of(error)}; {remedy}", 1)
    if isinstance(error, OSError):
        code = 1 if error.errno in _NOT_THEIRS else 2
        return _fail(f"{error.filename or 'a file'}: {error.strerror or error}", code)
    if isinstance(error, UnicodeEncodeError):
        around = error.object[max(0, error.start - 80) : error.end + 80]
        return _fail(f"{around!r}: not valid Unicode, which is needed here; rename the file", 2)
    if hasattr(error, "format_message"):
        return _explain_usage(error, arguments)
    from bridge.errors import ReverieError
    from dream_core.errors import DreamError

    if isinstance(error, ReverieError):
        return _fail(str(error), error.exit_code)
    if isinstance(error, DreamError):
        return _fail(str(error), 2)
    raise error


def _explain_usage(error: Any, arguments: Sequence[str]) -> int:
    """Print what is wrong with a command line, and whose help tells more."""
    message = error.format_message()
    if not message:
        return 2  # called with nothing: the help has been printed
    context = getattr(error, "ctx", None)
    called = [argument for argument in arguments if argument in COMMANDS][:1]
    command = context.command_path if context else " ".join(["reverie", *called])
    given = _given(getattr(getattr(error, "param", None), "opts", ()), arguments)
    if given is not None:
        # The parser tells neither what was written nor, in the words of its checker, much of what is wrong.
        wanted = error.message.removeprefix("Value error, ").partition(", unable to parse")[0]
        message = f"{given}: {wanted[:1].lower()}{wanted[1:]}"
    end = "" if message.endswith((".", "?")) else "."
    return _fail(f"{message}{end} See `{command} --help`.", 2, command)


def _given(spellings: Sequence[str], arguments: Sequence[str]) -> str | None:
    """Return an option with its value as the command line has it."""
    spellings = [spelling for spelling in spellings if spelling.startswith("-")]  # others are arguments
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument in spellings:
            return f"{argument} {following}"
        if argument.partition("=")[0] in spellings:
            return argument
    return None


def _fail(line: str, code: int, command: str = "reverie") -> int:
    note(f"{command}: {line}")
    return code
