"""The outermost room: finds the command, runs it, and turns every end into an exit code."""

from __future__ import annotations

import io
import os
import sys
import traceback
from importlib import import_module
from typing import IO, Any

import click
from click.shell_completion import CompletionItem, FishComplete, add_completion_class

from edgepress.compress.errors import CheckFailed, EdgepressError, Stopped, without_passwords
from edgepress.compress.kernel.boundary import explained, refused_by_system
from edgepress.compress.processes import signals
from edgepress.deploy.cli.display import echo

# Name → (module under `commands`, one-line help). Help and completion read only this table, so
# that they import nothing heavy.
COMMANDS: dict[str, tuple[str, str]] = {
    "inspect": ("model.inspect", "Show layers, parameters, MACs, sparsity and what can be pruned."),
    "advise": ("model.advise", "Suggest layers to unfreeze and training settings."),
    "lr-find": ("model.lr_find", "Find a learning rate with a range test."),
    "finetune": ("model.finetune", "Train chosen layers on your data."),
    "unfreeze-search": ("model.unfreeze_search", "Find out how many layers to unfreeze by trying."),
    "sensitivity": (
        "model.sensitivity",
        "Measure how much the metric depends on each channel group.",
    ),
    "prune": ("model.prune", "Remove weights or whole channels, then recover the accuracy."),
    "strip": ("model.strip", "Remove parts that only training needs."),
    "export": ("files.export", "Write TFLite and ONNX files, each verified against the model."),
    "verify": ("files.verify", "Compare an exported file with its source model."),
    "benchmark": ("files.benchmark", "Measure size, latency, memory and accuracy."),
    "devices": ("files.devices", "List, name and check devices to measure on."),
    "doctor": ("model.doctor", "Find problems of a model and its data before they cost time."),
    "compress": (
        "runs.compress",
        "Run the full pipeline: fine-tune, prune, export, verify, benchmark.",
    ),
    "fit": ("runs.fit", "Find the fastest or smallest files that keep a floor of the metric."),
    "search": ("runs.search", "Try many recipes and keep the Pareto front."),
    "search-worker": ("runs.search_worker", "Run trials of a search on another machine."),
    "report": ("runs.report", "Write an HTML report of one or more runs."),
    "explain": ("runs.explain", "Explain a word of the tables and messages."),
    "schema": ("runs.schema", "Print the JSON schema of a recipe, for editors."),
    "demo": ("runs.demo", "Run the full pipeline on handwritten digits; needs no file."),
}


class _Told(click.ClickException):
    """An error of the product as click ends on it: one line, the error's own exit code."""

    def __init__(self, error: EdgepressError) -> None:
        super().__init__(error.format_message())
        self.exit_code = error.exit_code  # type: ignore[misc]

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the one line on standard error."""
        echo(f"edgepress: error: {self.message}", file=file, err=file is None)


class _Fish(FishComplete):
    """Click's completion for fish, which cut what is offered at its first comma.

    So `--quantize int8,fl` was offered `int8` alone.
    """

    source_template = FishComplete.source_template.replace(
        'string split ","', 'string split -m 1 ","'
    )


add_completion_class(_Fish)


class LazyGroup(click.Group):
    """A group whose commands are imported when they are run."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; only here do the product's errors meet click."""
        try:
            return super().invoke(ctx)
        except EdgepressError as error:
            raise _Told(error) from error
        except (Exception, SystemExit) as error:
            if (message := explained(error)) is None:
                raise
            raise _Told(message) from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the work."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"edgepress.deploy.cli.commands.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        command.name = cmd_name
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete commands from the table alone."""
        found = [
            CompletionItem(name, help=text)
            for name, (_, text) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a misspelt one is met with its near names."""
        from edgepress.compress.kernel.registry import near_names

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"no command '{args[0]}'; {near_names(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table alone."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        from importlib.metadata import version

        click.echo(f"edgepress {version('edgepress')}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version.",
)
def cli() -> None:
    """Make a trained Keras model small and fast for a device, and prove it with measurements.

    Start with: edgepress demo
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    Exit codes: 0 done; 1 a check that was asked for failed; 2 bad input; 3 a device or a child
    process failed; 130 stopped with Ctrl-C, 143 by SIGTERM, 129 by SIGHUP.

    Args:
        arguments: The words after `edgepress`. Without them the process is the command's own: it
            takes its signals, and trains in a child process.
    """
    words = sys.argv[1:] if arguments is None else arguments
    own = words if arguments is None else None
    _take_signals(own is not None)
    debug = "--debug" in words
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may not be UTF-8
    try:
        code = cli.main(words, prog_name="edgepress", standalone_mode=False, obj=own)
        _exit(code if isinstance(code, int) else 0)
    except click.exceptions.Exit as end:
        _exit(end.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.message)
        _exit(0)
    except click.UsageError as error:
        _usage(error)
    except click.ClickException as error:
        _refused(error, debug)
    except (click.Abort, KeyboardInterrupt):
        _stop()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _exit(0)
    except Exception as error:
        _failed(error, debug)


def _refused(error: click.ClickException, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    # Native code makes an error of its own of what a signal raises.
    known_codes = (Stopped.exit_code, CheckFailed.exit_code)
    if signals.was_stopped() and error.exit_code not in known_codes:
        _stop()
    error.show()
    _exit(error.exit_code)


def _failed(error: Exception, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    if signals.was_stopped():
        _stop()
    if refusal := refused_by_system(error):
        echo(f"edgepress: error: {refusal}", err=True)
        _exit(2)
    first = " ".join(str(error).split())[:300]
    echo(
        f"edgepress: error: internal failure, {type(error).__name__}: {first};"
        " run again with --debug and report what it prints",
        err=True,
    )
    _exit(3)


def _stop() -> None:
    echo("edgepress: stopped; nothing was left half-written", err=True)
    _exit(Stopped.exit_code)


def _take_signals(own: bool) -> None:
    """Let signals stop this process, if it is the command's own."""
    if own:
        (signals.handle_as_child if signals.are_parents() else signals.handle)()


def _usage(error: click.UsageError) -> None:
    command = error.ctx.command_path if error.ctx else "edgepress"
    message = without_passwords(" ".join(error.format_message().split()).rstrip("."))
    echo(f"edgepress: error: {message}; see '{command} --help'", err=True)
    _exit(2)


def _exit(code: int) -> None:
    """Leave with a code, output flushed; a stopped command's says by which signal."""
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(signals.exit_code() if code == Stopped.exit_code else code)
