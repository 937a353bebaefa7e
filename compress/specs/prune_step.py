"""What all pruning steps share: the field `structure` says which kind of step it is.

`PruneSpec(structure="channels", …)` gives a `ChannelsSpec`, and so does a mapping where a recipe
has a step. The kinds and their own fields are in `pruning`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, get_args, get_origin

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic import model_validator as model_validator
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from edgepress.compress.errors import InputError
from edgepress.compress.specs.descriptions import docstring_helps
from edgepress.compress.specs.training import Drop, Names, Rate, Spec, TrainSpec

TARGETS = (
    "sparsity", "target_macs", "target_params", "target_size", "target_arena", "target_latency"
)  # fmt: skip
_DEFAULT = "weights"
_KINDS: dict[str, type[PruneSpec]] = {}
# Defaults of earlier versions, as their runs' recipes spell them out.
_FORMER: dict[str, tuple[Any, ...]] = {"round_to": (8,)}


class RecoverSpec(TrainSpec):
    """The training after a pruning, or along with it.

    Attributes:
        epochs: Epochs of training after (one-shot) or during pruning.
        lr: Learning rate that the schedule starts from (after warm-up); "auto" takes what a range
            test (lr-find) suggests; 0.002 by default after channels and layers, 0.001 after others.
        distill: Recover by distillation from the unpruned model.
        distill_layers: Layers whose outputs the recovery matches with the unpruned model's too.
        release_zeros: Let repair and recovery change the zeros of the given model.
        release_clusters: Let repair and recovery separate weights that share a value.
        log_csv: File that each epoch adds a line of figures to; each round of several has its own.
    """

    epochs: int = Field(0, ge=0)
    schedule: str = "cosine"
    distill: bool = True


class UnitRecoverSpec(RecoverSpec):
    """As `RecoverSpec`, at twice the rate: where whole units go, there is more to recover from."""

    lr: Rate = 2e-3


_OWN_NAMES = {
    "distill": "distill",
    "distill_layers": "match_layers",
    "release_zeros": "release_zeros",
    "release_clusters": "release_clusters",
}
# Fields of `recover` by the names that they have beside the other options of a step.
RECOVER_NAMES: dict[str, str] = {
    _OWN_NAMES.get(name, f"recover_{name}"): name for name in RecoverSpec.model_fields
}


class PruneSpec(Spec):
    """One pruning step and its recovery.

    Attributes:
        structure: What is removed; "clusters" removes no weights, but lets those of each kernel
            share few values (zeros stay zeros), which compresses well.
        protect: Layers (names or globs) that are not pruned.
        recover: The training after or during the pruning. Its fields are also read beside those of
            the step: `recover_epochs`, `recover_lr`, …, `distill`, `match_layers`,
            `release_zeros`, `release_clusters`.
        max_drop: Largest acceptable fall of the metric, as a share of 1.
    """

    structure: str = _DEFAULT
    protect: Names = ()
    recover: RecoverSpec = Field(default_factory=RecoverSpec)
    max_drop: Drop | None = Field(None, ge=0)

    def __new__(cls, **options: Any) -> Self:
        """A step of the kind that `structure` names."""
        kind: type[Any] = cls
        if cls is PruneSpec:
            kind = _KINDS.get(str(options.get("structure", _DEFAULT)), _KINDS[_DEFAULT])
        made: Self = super().__new__(kind)
        return made

    if TYPE_CHECKING:

        def __init__(self, **options: Any) -> None: ...

    else:

        def __getattr__(self, name: str) -> Any:
            """An option that this kind of step lacks, as not given; a field of `recover`."""
            if name in RECOVER_NAMES:
                return getattr(self.recover, RECOVER_NAMES[name])
            owner = next((k for k in _KINDS.values() if name in k.model_fields), None)
            if owner is None:
                return super().__getattr__(name)
            return _default(owner, name)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Enter a kind into the table by its structure."""
        annotation = cls.model_fields["structure"].annotation
        if get_origin(annotation) is Literal:
            _KINDS[get_args(annotation)[0]] = cls

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Any of the kinds, told apart by `structure`; errors don't name the kind as a place."""
        if not _KINDS or cls is not PruneSpec:
            return handler(source)
        choices = {name: handler.generate_schema(kind) for name, kind in _KINDS.items()}
        union = core_schema.tagged_union_schema(choices, "structure")
        return core_schema.no_info_wrap_validator_function(_step, union)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The fields, and the other names of those of `recover`."""
        found = super().__get_pydantic_json_schema__(schema, handler)
        model = handler.resolve_ref_schema(found)
        if model.get("type") == "object":
            for name, field in RECOVER_NAMES.items():
                other = {"description": f"As recover.{field}.", "deprecated": True}
                model["properties"].setdefault(name, other)
            if model["properties"]["structure"].get("const") != _DEFAULT:
                model["required"] = sorted({*model.get("required", ()), "structure"})
        return found

    @model_validator(mode="wrap")
    @classmethod
    def _by_all_names(cls, value: Any, handler: Callable[[Any], Self]) -> Self:
        """Read options of `recover` beside the others, and refuse those of another kind."""
        if not isinstance(value, Mapping):
            return handler(value)
        _refuse_unknown_structure(value)
        own, beside = _with_recovery(cls, _own_options(cls, value))
        try:
            return handler(own)
        except ValidationError as error:
            details = [_as_written(problem, value, beside) for problem in error.errors()]
            raise ValidationError.from_exception_data(cls.__name__, details) from None

    @classmethod
    def kind(cls) -> str:
        """The structure that a class of steps is for."""
        return str(_default(cls, "structure"))

    @classmethod
    def foreign(cls, name: str, owners: Sequence[str]) -> str:
        """Why an option of other kinds isn't one of this kind."""
        return f"{name} is for {_shown(owners)}, not structure {cls.kind()}"

    def asked(self, name: str) -> bool:
        """Whether an option was given; a run's own recipe spells out the defaults too."""
        return name in self.model_fields_set and getattr(self, name) != _default(type(self), name)

    def target(self) -> tuple[str, Any] | None:
        """The name and the value of what is aimed at; None where another option says it."""
        given = ((n, getattr(self, n)) for n in TARGETS if n in type(self).model_fields)
        return next(((name, value) for name, value in given if value), None)

    def aim(self) -> str:
        """What is aimed at, in words."""
        name, value = self.target() or ("nothing", "")
        shown = f"{value:g}" if isinstance(value, float) else value
        return f"{name.replace('_', ' ')} {shown}"

    def check(self, with_data: bool) -> None:
        """Refuse, before any work, what can't be done with or without data.

        Raises:
            InputError: Names the option.
        """
        if self.recover.epochs and not with_data:
            raise InputError("recover_epochs needs data", "give data, or recover_epochs 0")

    def recovery(self) -> TrainSpec:
        """The training that follows (or accompanies) the pruning."""
        values = self.recover.model_dump(mode="json", exclude={"distill"})
        return TrainSpec.model_validate(values | self._released())

    def _released(self) -> dict[str, bool]:
        """What the training need not hold, since the pruning itself does."""
        return {}

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other values; fields of `recover` by their other names too."""
        own, recover = dict(update or {}), {}
        for name in [n for n in own if n in RECOVER_NAMES]:
            recover[RECOVER_NAMES[name]] = own.pop(name)
        if recover:
            own["recover"] = own.get("recover", self.recover).model_copy(update=recover)
        return super().model_copy(update=own, deep=deep)

    @classmethod
    def kinds(cls) -> tuple[type[PruneSpec], ...]:
        """The kinds of steps that a class stands for."""
        return tuple(_KINDS.values()) if cls is PruneSpec else (cls,)

    def given(self) -> dict[str, Any]:
        """The options that were given, those of `recover` by their names beside the others."""
        own = {n: v for n, v in super().given().items() if n != "recover"}
        inner = self.recover.given()
        return own | {name: inner[f] for name, f in RECOVER_NAMES.items() if f in inner}

    @classmethod
    def option_helps(cls) -> dict[str, str]:
        """The meaning of each option, as `option_fields` names them."""
        recover = docstring_helps(RecoverSpec)
        helps = {name: recover.get(field, "") for name, field in RECOVER_NAMES.items()}
        for kind in reversed(cls.kinds()):
            helps |= docstring_helps(kind)
        return {name: text for name, text in helps.items() if name != "recover"}

    @classmethod
    def option_fields(cls) -> dict[str, FieldInfo]:
        """All options by name: fields of every kind and, beside them, those of `recover`."""
        structures: Any = Literal[tuple(_KINDS)]
        found = {"structure": FieldInfo(annotation=structures, default=_DEFAULT)}
        for kind in cls.kinds():
            for name, info in kind.model_fields.items():
                if name != "recover":
                    found.setdefault(name, info)
        first = {name: found[name] for name in ("structure", *TARGETS) if name in found}
        fields = RecoverSpec.model_fields
        return first | found | {name: fields[field] for name, field in RECOVER_NAMES.items()}


def _step(value: Any, _: Callable[[Any], PruneSpec]) -> PruneSpec:
    """A step from a mapping, a step as it is; what is neither is refused as pydantic does."""
    if isinstance(value, PruneSpec):
        return value
    if not isinstance(value, Mapping):
        return _KINDS[_DEFAULT].model_validate(value)
    _refuse_unknown_structure(value)
    return _KINDS[value.get("structure", _DEFAULT)].model_validate(value)


def _default(kind: type[Spec], name: str) -> Any:
    return kind.model_fields[name].get_default(call_default_factory=True)


def _refusal(kind: str, name: str, value: Any, message: str) -> ValidationError:
    """One problem, at the option's own place."""
    problem = PydanticCustomError("another_structure", "{said}", {"said": message})
    detail = InitErrorDetails(type=problem, loc=(name,), input=value)
    return ValidationError.from_exception_data(kind, [detail])


def _refuse_unknown_structure(value: Mapping[Any, Any]) -> None:
    structure = value.get("structure", _DEFAULT)
    if not isinstance(structure, str) or structure not in _KINDS:
        said = f"unknown structure '{structure}': it is one of {', '.join(_KINDS)}"
        raise _refusal("PruneSpec", "structure", structure, said)


def _own_options(kind: type[PruneSpec], value: Mapping[Any, Any]) -> dict[Any, Any]:
    """The options without those of other kinds, which may stand there as not given.

    Recipes that runs wrote before the kinds were told apart spell all options out.

    Raises:
        ValidationError: One of another kind is given.
    """
    found = {}
    for name, given in value.items():
        owners = [k for k in _KINDS.values() if name in k.model_fields]
        if name in kind.model_fields or not owners:
            found[name] = given
        elif not _is_off(given, [*(_default(o, name) for o in owners), *_FORMER.get(name, ())]):
            said = kind.foreign(name, [owner.kind() for owner in owners])
            raise _refusal(kind.__name__, name, given, said)
    return found


def _is_off(given: Any, defaults: Iterable[Any]) -> bool:
    nothing = given is None or given is False or given in ((), [], {})
    return nothing or any(given == d or str(given) == str(d) for d in defaults)


def _shown(structures: Sequence[str]) -> str:
    """Structures in words."""
    if list(structures) == ["weights", "blocks", "nm", "kernels"]:
        return "unstructured pruning"
    *first, last = structures
    return f"structure {', '.join(first)} or {last}" if first else f"structure {last}"


def _with_recovery(
    kind: type[PruneSpec], value: Mapping[Any, Any]
) -> tuple[dict[Any, Any], dict[str, str]]:
    """Options of `recover` moved into it; by its field the name that each was given by.

    Raises:
        ValidationError: One is given twice.
    """
    beside = {RECOVER_NAMES[name]: name for name in value if name in RECOVER_NAMES}
    found = {name: given for name, given in value.items() if name not in RECOVER_NAMES}
    given = found.get("recover")
    if isinstance(given, TrainSpec):
        given = given.model_dump(mode="json", include=given.model_fields_set)
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        return found, {}
    for field, name in beside.items():
        if field in given:
            said = f"{name} and recover.{field} are the same option: give one of the two"
            raise _refusal(kind.__name__, name, value[name], said)
    recover = {**given, **{field: value[name] for field, name in beside.items()}}
    return {**found, "recover": recover} if recover else _without(found, "recover"), beside


def _without(values: Mapping[Any, Any], name: str) -> dict[Any, Any]:
    return {key: value for key, value in values.items() if key != name}


def _as_written(
    problem: Any, value: Mapping[Any, Any], beside: Mapping[str, str]
) -> InitErrorDetails:
    """A problem at the place that the user wrote: an option of `recover` may stand beside it."""
    place = problem["loc"]
    if place[:1] == ("recover",) and len(place) > 1 and place[1] in beside:
        place = (beside[place[1]], *place[2:])
    elif place == ("recover",) and "recover" not in value:
        place = ()
    context = {"said": problem["msg"], "pattern": problem.get("ctx", {}).get("pattern", "")}
    said = PydanticCustomError(problem["type"], "{said}", context)
    return InitErrorDetails(type=said, loc=place, input=problem["input"])
