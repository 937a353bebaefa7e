"""Help in sections: the everyday options first, all of them with `--help-all`."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import click
from click.shell_completion import CompletionItem

from edgepress.deploy.cli.examples import EXAMPLES
from edgepress.deploy.cli.tables.printing import check_shown
from edgepress.deploy.cli.valid_names import NamedValue

# Kind of spec → the section's title, and the fields that every day needs.
_SECTIONS: dict[str, tuple[str, str]] = {
    "DataSpec": ("Data", "scale preprocess resize augment target metric"),
    "FinetuneSpec": (
        "Fine-tuning",
        "unfreeze epochs batch_size optimizer lr schedule early_stopping teacher",
    ),
    "PruneSpec": (
        "Pruning",
        "structure sparsity target_macs target_params target_size target_latency device criterion"
        " schedule recover_epochs protect max_drop",
    ),
    "AcceptSpec": ("Acceptance", "max_drop max_bytes max_ram max_latency"),
    "ExportSpec": ("Export", "formats quantize io qat_epochs"),
    "FitSpec": ("Fit", "max_drop minimise max_ram max_bytes max_latency quantize"),
    "BenchmarkSpec": ("Benchmark", "devices runs threads profile"),
    "Tolerances": ("Comparison with an earlier result", "max_drop latency_tolerance"),
}
_FIRST, _LAST = "Options", "Every command"
_OF_EVERY_COMMAND = ("--json", "--seed", "--verbose", "--debug", "--help-all", "--help")
_RARE = ("custom_objects", "unsafe_lambda", "debug")
_ALL, _TYPED = "edgepress.help_all", "edgepress.typed"
# What fits on a screen is shown whole.
_FEW = 24


class SpecOption(click.Option):
    """An option made from a field of a spec.

    Args:
        spec: Name of the spec's class.
        field: The field.
        aliases: Older names of the option: they work, and no help shows them.
    """

    def __init__(
        self, *args: Any, spec: str, field: str, aliases: Iterable[str] = (), **settings: Any
    ) -> None:
        super().__init__(*args, **settings)
        self.spec = spec
        self.field = field
        self.aliases = frozenset(aliases)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The record without the aliases."""
        if not self.aliases:
            return super().get_help_record(ctx)
        shown = copy.copy(self)
        shown.opts = [name for name in self.opts if name not in self.aliases]
        shown.aliases = frozenset()
        return shown.get_help_record(ctx)

    @property
    def title(self) -> str:
        """The section that the option stands in."""
        return _SECTIONS.get(self.spec, (self.spec.removesuffix("Spec"), ""))[0]

    @property
    def everyday(self) -> bool:
        """Whether the short help shows it."""
        return self.spec not in _SECTIONS or self.field in _SECTIONS[self.spec][1].split()


class SectionedCommand(click.Command):
    """A command whose help has sections."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep what was typed, since errors name an option by the name that the user chose."""
        ctx.meta[_TYPED] = frozenset(word.partition("=")[0] for word in args)
        try:
            rest = super().parse_args(ctx, args)
            check_shown(ctx, ctx.params.get("as_json", False))
        except BaseException:
            # click leaves the context open, and with it what `--json` did to standard output.
            ctx.close()
            raise
        return rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options by section; without `--help-all` only those of every day."""
        options = [p for p in self.get_params(ctx) if isinstance(p, click.Option) and not p.hidden]
        complete = ctx.meta.get(_ALL, False) or len(options) <= _FEW
        sections: dict[str, list[tuple[str, str]]] = {_FIRST: []}
        hidden = 0
        for option in options:
            if complete or _is_everyday(option):
                sections.setdefault(_title(option), []).extend(_record(option, ctx))
            else:
                hidden += 1
        sections[_LAST] = sections.pop(_LAST, [])
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
        if hidden:
            formatter.write_paragraph()
            formatter.write_text(f"{hidden} more options: {ctx.command_path} --help-all")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        write_examples(ctx, formatter)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete as click does, without older names."""
        aliases = {a for p in self.params if isinstance(p, SpecOption) for a in p.aliases}
        return [i for i in super().shell_complete(ctx, incomplete) if i.value not in aliases]


class GroupWithExamples(click.Group):
    """A group of commands whose help ends with examples."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        write_examples(ctx, formatter)


def write_examples(ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """Write a command's examples, each line as it is typed."""
    lines = EXAMPLES.get(ctx.command.name or "", ())
    if lines:
        with formatter.section("Examples"):
            formatter.write("".join(f"  {line}\n" for line in lines))


def as_typed(option: click.Parameter, ctx: click.Context) -> str:
    """The name by which the running command was given an option, or its present name."""
    typed = ctx.meta.get(_TYPED, frozenset())
    return next((name for name in option.opts if name in typed), option.opts[0])


def print_all_help(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    """Show the help with every option and leave (callback of `--help-all`)."""
    if value and not ctx.resilient_parsing:
        ctx.meta[_ALL] = True
        click.echo(ctx.get_help(), color=ctx.color)
        ctx.exit()


def _is_everyday(option: click.Option) -> bool:
    return option.everyday if isinstance(option, SpecOption) else option.name not in _RARE


def _title(option: click.Option) -> str:
    if isinstance(option, SpecOption):
        return option.title
    if option.name == "data":
        return _SECTIONS["DataSpec"][0]
    return _LAST if set(_OF_EVERY_COMMAND) & set(option.opts) else _FIRST


def _record(option: click.Option, ctx: click.Context) -> Iterator[tuple[str, str]]:
    """What the help says of an option, its valid names included."""
    record = option.get_help_record(ctx)
    if record is None:
        return
    names, text = record
    if isinstance(option.type, NamedValue) and option.type.listed():
        text, bracket, default = text.partition(" [default:")
        text = f"{text.rstrip('.')}. {option.type.listed()}{bracket and '.'}{bracket}{default}"
    yield names, text
