"""Options that several commands share, and options made from the fields of a spec."""

from __future__ import annotations

import functools
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import may_name_files
from edgepress.compress.kernel.files import check_output
from edgepress.compress.specs.amounts import parse_duration
from edgepress.compress.specs.construction import fields_of, make_spec
from edgepress.compress.specs.descriptions import field_helps
from edgepress.compress.specs.recipe import DataSpec
from edgepress.compress.specs.training import LARGEST_SEED
from edgepress.deploy.cli import display
from edgepress.deploy.cli.help_sections import SpecOption, as_typed, print_all_help
from edgepress.deploy.cli.valid_names import type_of_field

if TYPE_CHECKING:
    import keras

    from edgepress.deploy.sources.source import Source

F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S", bound=BaseModel)
Values = dict[str, Any]


def spec_options(
    kind: type[BaseModel],
    skip: Iterable[str] = (),
    rename: Mapping[str, str] | None = None,
    prefix: str = "",
    aliases: Mapping[str, Iterable[str]] | None = None,
) -> Callable[[F], F]:
    """Add an option for each field of a spec; an option that isn't given stays out of the values.

    Values are passed on as text: the spec itself reads and checks them, in one place for the
    command line, recipes and the library.

    Args:
        kind: The spec's class.
        skip: Fields that get no option.
        rename: Option names that differ from the field's.
        prefix: Put before the field's name among the values, where two specs share names.
        aliases: Older option names, which work and aren't shown, by field.
    """
    helps = field_helps(kind)
    names = dict(rename or {})

    def decorate(function: F) -> F:
        for name, field in reversed(fields_of(kind).items()):
            if name not in set(skip):
                option = names.get(name, name.replace("_", "-"))
                older = [f"--{alias}" for alias in (aliases or {}).get(name, ())]
                settings = {
                    "cls": SpecOption, "spec": kind.__name__, "field": name, "aliases": older
                }  # fmt: skip
                words = [f"--{option}", *older, prefix + name]
                text = _in_words_of_options(helps.get(name, ""), name, kind, names)
                function = _option(words, field, text, settings)(function)
        return function

    return decorate


def _in_words_of_options(
    text: str, name: str, kind: type[BaseModel], renamed: Mapping[str, str]
) -> str:
    """A field's text with options where it names fields, and quotes around other literal words."""
    recover = name.startswith("recover_")

    def word(found: re.Match[str]) -> str:
        beside = (f"recover_{found[1]}", found[1]) if recover else (found[1],)
        field = next((f for f in beside if f in fields_of(kind)), None)
        if field is None:
            return f'"{found[1]}"'
        return f"--{renamed.get(field, field.replace('_', '-'))}"

    return re.sub(r"`([^`]+)`", word, text)


def benchmark_options(function: F) -> F:
    """The options of `BenchmarkSpec`, by the names that every command gives them."""
    from edgepress.deploy.specs.benchmark import BenchmarkSpec

    return spec_options(BenchmarkSpec, rename=BenchmarkSpec.flags)(function)


def _option(words: list[str], field: FieldInfo, text: str, settings: Values) -> Callable[[F], F]:
    default = field.get_default(call_default_factory=True)
    has_default = "default" in text.lower()
    if not has_default and default not in (None, (), "", {}) and not isinstance(default, bool):
        shown = ", ".join(map(str, default)) if isinstance(default, tuple) else default
        text = f"{text.rstrip('.')} [default: {shown}]"
    kind = _plain(field.annotation)
    if kind is bool:
        flag = f"{words[0]}/--no-{words[0].removeprefix('--')}"
        return click.option(flag, *words[1:], default=None, help=text, **settings)
    if typing.get_origin(kind) is typing.Literal:
        choices = click.Choice([str(c) for c in typing.get_args(kind)])
        return click.option(*words, type=choices, help=text, **settings)
    many = typing.get_origin(kind) in (tuple, dict) and _repeats(kind)
    metavar = _METAVARS.get(kind)
    if typing.get_origin(kind) is dict:
        metavar = _pairs_metavar(typing.get_args(kind)[1])
    known = type_of_field(settings["field"])
    return click.option(*words, type=known, multiple=many, metavar=metavar, help=text, **settings)


def _pairs_metavar(values: Any) -> str:
    if values is float:
        return "GLOB=F"
    if typing.get_origin(values) is typing.Literal:
        return f"GLOB={'|'.join(typing.get_args(values))}"
    return "NAME=SIZES"


_METAVARS: dict[Any, str] = {int: "N", float: "X"}


def _plain(annotation: Any) -> Any:
    """The type inside `X | None` and `Annotated[X, …]`."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _plain(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        inner = [a for a in typing.get_args(annotation) if a is not type(None)]
        return _plain(inner[0])
    return annotation


def _repeats(kind: Any) -> bool:
    """Whether several values are given by repeating the option, not behind commas."""
    return typing.get_origin(kind) is dict or typing.get_args(kind)[:1] == (str,)


def seconds_of(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> float | None:
    """Read the text of an option as a time; a callback of click.

    Raises:
        click.BadParameter: It is none.
    """
    del context, parameter
    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def given(values: Mapping[str, Any], kind: type[BaseModel], skip: Iterable[str] = ()) -> Values:
    """Those values that belong to a spec's fields and were given on the command line."""
    found = {}
    for name in fields_of(kind).keys() - set(skip):
        value = values.get(name)
        if value is None or value == ():
            continue
        found[name] = _pairs(name, value) if _is_mapping(kind, name) else value
    return found


def spec_from(kind: type[S], options: Mapping[str, Any], prefix: str = "") -> S:
    """A spec from options of the running command, by field; problems name them as people type them.

    Args:
        kind: The spec's class.
        options: Values by field.
        prefix: As for `spec_options`.

    Raises:
        InputError: A value is impossible.
    """
    context = click.get_current_context()
    typed = {p.name: as_typed(p, context) for p in context.command.params}
    names = {f: typed[prefix + f] for f in fields_of(kind) if prefix + f in typed}
    return make_spec(kind, options, names=names)


def on_command_line(*names: str) -> list[str]:
    """Those options that stand on the command line, whatever their values."""
    context = click.get_current_context()
    return [n for n in names if context.get_parameter_source(n) is ParameterSource.COMMANDLINE]


def options_given(beside: Iterable[str]) -> list[str]:
    """Options as they stand on the command line, such as `--lr`.

    Args:
        beside: Parameters that don't count, by name.
    """
    context = click.get_current_context()
    given = [p for p in context.command.params if isinstance(p, click.Option) and p.name]
    return [
        max(p.opts, key=len) for p in given if p.name not in beside and on_command_line(str(p.name))
    ]


def _is_mapping(kind: type[BaseModel], name: str) -> bool:
    return typing.get_origin(_plain(fields_of(kind)[name].annotation)) is dict


def _pairs(name: str, texts: Iterable[str]) -> dict[str, str]:
    pairs = dict(text.rpartition("=")[::2] for text in texts)
    if not all(pairs):
        raise click.UsageError(f"--{name.replace('_', '-')} takes NAME=VALUE")
    return pairs


def data_options(required: bool, skip: Iterable[str] = ()) -> Callable[[F], F]:
    """`--data` and how the data is prepared, without fields that have no effect in a command."""

    def decorate(function: F) -> F:
        function = spec_options(DataSpec, skip=("spec", *skip))(function)
        return click.option(
            "--data",
            "data",
            required=required,
            type=click.Path(),
            metavar="SPEC",
            help="Data: .npz, folder of images, .csv, .parquet, tfds:NAME or file.py:function.",
        )(function)

    return decorate


def data_spec(values: Mapping[str, Any]) -> DataSpec | None:
    """The data that was named, or None."""
    settings = given(values, DataSpec)
    if values.get("data") is None:
        if settings:
            name = next(iter(settings)).replace("_", "-")
            raise click.UsageError(f"--{name} needs --data")
        return None
    return spec_from(DataSpec, {"spec": values["data"], **settings})


# What commands read, by the name of the option; a bare word of these names a file, too.
_READ = (
    "model", "source", "recipe", "data", "custom_objects", "teacher", "artifact", "artifacts",
    "against", "runs",
)  # fmt: skip


def read_by(values: Mapping[str, Any]) -> list[Any]:
    """Everything that a command reads, as it was typed: no output may replace it."""
    from edgepress.deploy.targets.devices_file import devices_file

    found: list[Any] = []
    for name in _READ:
        value = values.get(name)
        found += value if isinstance(value, tuple | list) else [] if value is None else [value]
    return [*found, *may_name_files(values), devices_file()]


def checked_output(
    values: Mapping[str, Any], folder: bool = False, force: bool | None = None
) -> Path:
    """The output of a command, refused before any work where it can't be written.

    Args:
        values: The command's options.
        folder: Whether it is a folder.
        force: Whether it may be replaced; by default what the option says.

    Raises:
        InputError: It exists without `--force`, or must not be replaced.
    """
    force = values["force"] if force is None else force
    return check_output(values["output"], force, folder=folder, inputs=read_by(values))


def checked_model_output(values: Mapping[str, Any], force: bool | None = None) -> Path:
    """As `checked_output`, for a Keras model."""
    from edgepress.compress.models.writing import check_model_output

    force = values["force"] if force is None else force
    return check_model_output(values["output"], force, read_by(values))


def check_picture(path: Path, values: Mapping[str, Any]) -> None:
    """Refuse, before any work, a picture that can't be drawn.

    Args:
        path: Where it is to go.
        values: The command's options.

    Raises:
        InputError: It is there without `--force`, can't be written, or has another ending.
    """
    check_output(path, values["force"], inputs=read_by(values))
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise InputError(f"'{path}' is a plot: it must end in .png, .svg or .pdf")


def model_argument(function: F) -> F:
    """The model and what may be needed to load it."""
    function = click.option(
        "--unsafe-lambda",
        is_flag=True,
        help="Let Lambda layers of the file run their Python code: only for files you trust.",
    )(function)
    function = click.option(
        "--custom-objects", type=click.Path(), help="Python file with your own layers."
    )(function)
    return click.argument("model", metavar="MODEL", type=click.Path())(function)


def load_model(values: Mapping[str, Any]) -> keras.Model:
    """Load the model that the command line names."""
    from edgepress.compress.models import load

    return load(values["model"], values.get("custom_objects"), values.get("unsafe_lambda", False))


def open_model(values: Mapping[str, Any]) -> Source:
    """The model that the command line names as a `Source`: a file without a Keras model too."""
    from edgepress.deploy.sources.opening import open_source

    allowed = values.get("unsafe_lambda", False)
    return open_source(values["model"], values.get("custom_objects"), allowed)


def open_noted(values: Mapping[str, Any]) -> Any:
    """As `open_model`; how a file without a Keras model was opened is said at once."""
    source = open_model(values)
    for note in () if source.is_keras else source.notes:
        display.say(f"note: {note}")
    return source


def output_options(
    required: bool = True, help: str = "Where to write the result."
) -> Callable[[F], F]:
    """`-o` and `--force`."""

    def decorate(function: F) -> F:
        function = click.option("--force", is_flag=True, help="Replace an existing output.")(
            function
        )
        return click.option(
            "-o", "--output", required=required, type=click.Path(path_type=Path), help=help
        )(function)

    return decorate


def common_options(function: F) -> F:
    """`--json`, `--seed`, `-v`, `--debug` and `--help-all`."""
    for decorate in (
        click.option(
            "--help-all",
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=print_all_help,
            help="Show every option and exit.",
        ),
        click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks."),
        click.option("-v", "--verbose", is_flag=True, help="Show the messages of the frameworks."),
        click.option(
            "--seed",
            default=0,
            show_default=True,
            type=click.IntRange(0, LARGEST_SEED),
            metavar="N",
            help="Random seed.",
        ),
        click.option(
            "--json",
            "as_json",
            is_flag=True,
            callback=display.keep_output_for_json,
            help="Print one JSON document and nothing else.",
        ),
    ):
        function = decorate(function)
    return function


def keyword_values(function: Callable[[Values], Any]) -> Callable[..., Any]:
    """Give a command its options as one mapping."""

    @functools.wraps(function)
    def call(**values: Any) -> Any:
        return function(values)

    return call
