"""From saved configurations to Keras 3 layers and models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError
from edgepress.compress.models.legacy.assembly import attributes, keras1, layers, multi_gpu, tfmot
from edgepress.compress.models.legacy.assembly.inputs import input_tensor
from edgepress.compress.models.legacy.assembly.published_layers import PUBLISHED, published
from edgepress.compress.models.legacy.assembly.resizing import chains, resized, shapes_of, takes
from edgepress.compress.models.legacy.formats.traced_functions import Traced
from edgepress.compress.models.legacy.tf_ops.operations import Operation, operation
from edgepress.compress.models.legacy.wiring import masking, old_graphs
from edgepress.compress.models.legacy.wiring.naming import safe_name, told_apart
from edgepress.compress.models.legacy.wiring.reachable_layers import living
from edgepress.compress.models.legacy.wiring.rewired_graph import (
    CausalAttention,
    Rewired,
    TimeMajor,
    take_time_major,
)
from edgepress.compress.models.legacy.wiring.wiring import (
    Wiring,
    call_layer,
    crop,
    crops_everything,
)
from edgepress.compress.models.unknown_names import UnknownName

if TYPE_CHECKING:
    import keras

Config = dict[str, Any]
_MODELS = ("Functional", "Model", "Network", "Sequential", "Graph", "Container")
_OPERATIONS = (
    "TFOpLambda",
    "SlicingOpLambda",
    "TensorFlowOpLayer",
    "ClassMethod",
    "InstanceMethod",
)
_FOLDED = {
    "WeightNormalization": "its weight normalisation is folded into the kernel",
    **tfmot.WRAPPERS,
}


@dataclass(frozen=True)
class Member:
    """A layer of a model: what it was saved as and what it became."""

    name: str
    class_name: str
    config: Mapping[str, Any]
    layer: Any


class Builder:
    """Builds models and keeps what was changed.

    Args:
        objects: The user's own classes and functions, by name.
        old: Whether the configuration is in Keras 1's terms.
        traced: Gives the traced function of a layer, where the file holds them.
    """

    def __init__(
        self,
        objects: Mapping[str, Any],
        old: bool = False,
        traced: Callable[[str], Any] | None = None,
    ) -> None:
        self.objects = objects
        self.old = old
        self.traced = traced
        self.notes: list[str] = []
        self.members: dict[int, list[Member]] = {}
        # What is known by its id must live as long as the builder: a freed id is given again.
        self.kept: list[Any] = []
        self.nested: dict[int, Mapping[str, Any]] = {}
        self.named: set[int] = set()

    def remark(self, layer: str, text: str) -> None:
        """Note a change, once."""
        note = f"{layer}: {text}"
        if note not in self.notes:
            self.notes.append(note)

    def model(self, spec: Mapping[str, Any]) -> keras.Model:
        """Build a model from `{class_name, config}`.

        Raises:
            InputError: A layer is unknown, or the configuration isn't a model's.
        """
        config = spec["config"]
        class_name = str(spec["class_name"])
        if old_graphs.is_graph(config):
            config = old_graphs.functional(config)
        if isinstance(config, list) or ("layers" in config and "input_layers" not in config):
            return self._sequential(config)
        if not isinstance(config, dict) or "layers" not in config:
            raise InputError(
                f"the model is a subclass '{class_name}' whose code is not in the file",
                "give file.py:function that builds it and loads its weights",
            )
        if class_name not in _MODELS:
            self.remark(class_name, "a subclass of Model, read as the functional model it holds")
        return self._functional(config)

    def layer(self, spec: Mapping[str, Any]) -> Any:
        """Build a layer (or an `Operation`) from its saved `{class_name, config}`."""
        class_name = attributes.own_name(str(spec["class_name"]))
        config = spec.get("config")
        own = self._own(spec, class_name)
        if own is not None:
            return own
        if class_name in _MODELS or isinstance(config, list) or "input_layers" in (config or {}):
            inner = {"class_name": class_name, "config": config}
            made = self.model(inner)
            self.nested[id(made)] = inner
            return made
        config = dict(spec["config"] or {})
        if class_name in _OPERATIONS:
            return operation(class_name, config)
        made = self._made(class_name, config)
        if isinstance(made, Traced):
            return made
        if config.get("trainable") is False:
            (made.layer if isinstance(made, Rewired) else made).trainable = False
        return made

    def _own(self, spec: Mapping[str, Any], class_name: str) -> keras.Layer | None:
        """The user's layer of this class, or the user's function for a Lambda of this name."""
        import keras

        config = spec.get("config")
        if not isinstance(config, dict):
            return None
        registered = str(spec.get("registered_name") or class_name)
        found = self.objects.get(registered) or self.objects.get(class_name)
        if found is None and class_name == "Lambda":
            found = self.objects.get(str(config.get("name"))) or self.objects.get(
                str(config.get("function"))
            )
        if found is None:
            return None
        name = safe_name(str(config.get("name", class_name)))
        if not isinstance(found, type):
            return keras.layers.Lambda(found, name=name)
        cls: Any = found
        kept = {k: v for k, v in config.items() if k not in ("batch_input_shape", "dtype")}
        return cls.from_config({**kept, "name": name})

    def _made(self, class_name: str, config: Config) -> Any:
        name = str(config.get("name", class_name))
        if class_name == "Merge":
            return self._merge(config)
        if class_name in _FOLDED or class_name == "SpectralNormalization":
            return self._wrapped_weight(class_name, config)
        new, config = self._changed(class_name, config)
        cls = layers.find_class(new) if new else None
        found = self.traced(name) if cls is None and self.traced else None
        if found is not None:
            self.remark(name, f"{class_name} is unknown; rebuilt from the graph traced of it")
            return found
        if cls is None:
            raise UnknownName(
                "layer",
                class_name,
                f"layer '{name}' is of class '{class_name}', which Keras doesn't have",
                f"pass a file that defines {class_name} with --custom-objects file.py",
            )
        if new != class_name:
            self.remark(name, f"{class_name} became {cls.__name__}")

        def remark(text: str) -> None:
            self.remark(name, text)

        turned = class_name != "TimeDistributed" and take_time_major(config)
        config = self._inner(config)
        causal = config.pop("causal", False)
        config = layers.translate_parts(config, self.objects, remark)
        try:
            made = cls(**{**layers.fitted(cls, config, remark), "name": safe_name(name)})
        except TypeError as error:
            raise InputError(
                f"layer '{name}' is not Keras's {class_name}, its settings are others: {error}",
                f"pass a file that defines {class_name} with --custom-objects file.py",
            ) from None
        if turned:
            self.remark(name, "is time-major: its input and output are turned")
            return TimeMajor(made)
        return CausalAttention(made) if causal and new.endswith("Attention") else made

    def _changed(self, class_name: str, config: Config) -> tuple[str, Config]:
        """Today's class and settings; no class where the name stands for something else here."""
        if class_name in PUBLISHED:
            return published(class_name, config) or ("", config)
        if self.old:
            class_name, config = keras1.change(class_name, config)
        if class_name in layers.LAYERS:
            return layers.LAYERS[class_name](config)
        return class_name, config

    def _inner(self, config: Config) -> Config:
        """Build the layers that a wrapper or a recurrent layer holds."""
        made = dict(config)
        for key in ("layer", "backward_layer", "cell"):
            if isinstance(made.get(key), dict):
                made[key] = self.layer(made[key])
            elif key in made and made[key] is None:
                del made[key]
        if isinstance(made.get("cells"), list):
            made["cells"] = [self.layer(cell) for cell in made["cells"]]
        return made

    def _wrapped_weight(self, class_name: str, config: Config) -> keras.Layer:
        """Wrappers that change a kernel only while training: the layer itself, kernel as used."""
        inner = dict(config["layer"])
        inner["config"] = {**inner["config"], "name": config.get("name")}
        text = _FOLDED.get(class_name, "the kernel is kept as last normalised")
        self.remark(str(config.get("name")), text)
        return self.layer(inner)

    def _merge(self, config: Config) -> keras.Layer:
        try:
            class_name, made = keras1.merge(config)
        except (KeyError, TypeError):
            raise InputError(
                f"layer '{config.get('name')}' merges by Python code stored in the file; "
                "code in old files is never run",
                "only merging by sum, mul, concat, ave, max, dot and cos can be converted",
            ) from None
        self.remark(str(config.get("name")), f"Merge became {class_name}")
        return layers.find_class(class_name)(**made)

    def _sequential(self, config: Any) -> keras.Model:
        """A Sequential model; one that merges branches or holds bare operations is functional."""
        import keras

        specs = told_apart(config if isinstance(config, list) else config["layers"])
        name = None if isinstance(config, list) else config.get("name")
        name = safe_name(name) if name else None
        if specs and specs[0]["class_name"] == "Merge":
            return self._branches(specs, name)
        start, specs, members = self._start(config, specs)
        for spec in specs:
            members.append(self._member(spec))
        found = [member.layer for member in members if member.layer is not None]
        if start is None and found and getattr(found[0], "inputs", None):
            first = found[0].inputs[0]
            start = keras.Input(batch_shape=first.shape, dtype=first.dtype)
        plain = all(isinstance(layer, keras.Layer) for layer in found)
        crops = any(type(layer).__name__.startswith("Cropping") for layer in found)
        nested = any(id(layer) in self.nested for layer in found)
        if start is not None and (crops or not plain or (nested and not chains(start, found))):
            model = self._chain(start, members, name)
        else:
            model = keras.Sequential([*([start] if start is not None else []), *found], name=name)
        return self._holding(model, members)

    def _holding(self, model: keras.Model, members: list[Member]) -> keras.Model:
        """A model, with what it was made of noted."""
        self.members[id(model)] = members
        self.kept.append(model)
        return model

    def _chain(self, start: Any, members: list[Member], name: str | None) -> keras.Model:
        """A functional model of layers one after the other, some of which are bare operations."""
        import keras

        tensor = start
        for place, member in enumerate(members):
            if member.layer is not None:
                member = members[place] = self._fitting(member, tensor)
                tensor = _single(self._called(member.name, member.layer, tensor, {}))
        return keras.Model(start, tensor, name=name)

    def _fitting(self, member: Member, inputs: Any) -> Member:
        """A model inside, rebuilt where it was built for another shape than it is called on."""
        spec = self.nested.get(id(member.layer))
        if spec is None or takes(member.layer, shapes := shapes_of(inputs)):
            return member
        self.remark(member.name, f"is called on {shapes[0][1:]}, and built for that")
        return replace(member, layer=self.layer(resized(spec, shapes)))

    def _called(self, name: str, layer: Any, inputs: Any, arguments: dict[str, Any]) -> list[Any]:
        """The outputs of a layer or an operation, flat."""
        if isinstance(layer, Operation | Traced | Rewired):
            found = layer.apply(inputs, arguments)
            masking.name_apart(name, found, self.named, named=not isinstance(layer, Rewired))
            return found
        if crops_everything(layer, inputs):
            self.remark(name, "crops the whole input away, as in the original")
            return [crop(layer, inputs)]
        if masking.merges_masked(layer, inputs):
            found = [masking.merge(layer, inputs)]
        else:
            found = call_layer(layer, inputs, arguments)
        masking.name_apart(name, found, self.named)
        return found

    def _start(self, config: Any, specs: list[Any]) -> tuple[Any, list[Any], list[Member]]:
        """The input of a Sequential, where the file says it, and the layers behind it."""
        if not specs:
            return None, specs, []
        first = specs[0]["config"]
        if specs[0]["class_name"] == "InputLayer":
            tensor = input_tensor(first, str(first.get("name", "input")))
            return tensor, specs[1:], [Member(str(first.get("name")), "InputLayer", first, None)]
        shape = first.get("batch_input_shape") if isinstance(first, dict) else None
        if shape is None and isinstance(config, dict):
            shape = config.get("build_input_shape")
        if shape is None and self.old and isinstance(first, dict) and first.get("input_dim"):
            shape = [None, first["input_dim"]]
        if shape is None:
            return None, specs, []
        kind = {"dtype": first.get("input_dtype") or first.get("dtype")}
        name = f"{first.get('name', 'model')}_input"
        return input_tensor({**kind, "batch_input_shape": shape}, name), specs, []

    def _member(self, spec: Mapping[str, Any]) -> Member:
        config = spec.get("config")
        name = spec.get("name") or (config.get("name") if isinstance(config, dict) else None)
        layer = self.layer(spec)
        known: Mapping[str, Any] = config if isinstance(config, dict) else {}
        return Member(
            str(name or layer.name), attributes.own_name(spec["class_name"]), known, layer
        )

    def _branches(self, specs: list[Any], name: str | None) -> Any:
        """Keras 1's Sequential that begins with a Merge of models: a functional model."""
        import keras

        members: list[Member] = []
        inputs: list[Any] = []
        ends = []
        for branch in specs[0]["config"]["layers"]:
            inner = self.model(branch)
            members += self.members[id(inner)]
            inputs += inner.inputs
            ends += inner.outputs
        tensor = self._merge(specs[0]["config"])(ends)
        for spec in specs[1:]:
            member = self._member(spec)
            members.append(member)
            tensor = member.layer(tensor)
        model = keras.Model(inputs, tensor, name=name)
        return self._holding(model, members)

    def _functional(self, config: Config) -> keras.Model:
        import keras

        config = {**config, "layers": told_apart(config["layers"])}
        single = multi_gpu.on_one_device(config)
        if single is not None:
            self.remark(str(config.get("name")), "its copies for several GPUs are merged into one")
        config = single or config
        specs = config["layers"]
        wiring = Wiring(specs, str(config.get("name", "model")))
        wiring.count_outputs([config["input_layers"], config["output_layers"]])
        members: dict[str, Member] = {}
        alive = living(config, specs)
        for spec in specs:
            name = str(spec["name"])
            if name not in alive:
                self.remark(name, "is left out: no output depends on it")
                members[name] = Member(
                    name, str(spec["class_name"]), spec.get("config") or {}, None
                )
            elif spec["class_name"] == "InputLayer":
                tensor = input_tensor(spec["config"], name)
                wiring.outputs[name].append([tensor])
                members[name] = Member(name, "InputLayer", spec["config"], None)
            else:
                members[name] = self._member(spec)

        def called(spec: Mapping[str, Any], inputs: Any, arguments: dict[str, Any]) -> list[Any]:
            name = str(spec["name"])
            members[name] = self._fitting(members[name], inputs)
            return self._called(name, members[name].layer, inputs, arguments)

        wiring.run([s for s in specs if members[str(s["name"])].layer is not None], called)
        ends = {
            key: _single(wiring.resolve(config[key])) for key in ("input_layers", "output_layers")
        }
        given = config.get("name")
        model = keras.Model(
            ends["input_layers"], ends["output_layers"], name=safe_name(given) if given else None
        )
        return self._holding(model, list(members.values()))


def _single(value: Any) -> Any:
    """One tensor instead of a list of one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value
