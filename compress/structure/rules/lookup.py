"""Finding the rule of a layer: the table fills `RULES` and `OPERATIONS`, users register theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from edgepress.compress.structure.rules import merging
from edgepress.compress.structure.rules.rule import Resize, Rule, TraceRule

# Filled by the package, which Python imports before any of its modules can be used.
RULES: dict[type, Rule] = {}
OPERATIONS: dict[str, Rule] = {}
# What users registered; it goes before the table.
REGISTERED: dict[type, Rule] = {}


def register_rule(
    kind: type, rule: Rule | TraceRule | None = None, resize: Resize | None = None
) -> Callable[[TraceRule], TraceRule]:
    """Teach a layer class of your own, as a call or as a decorator.

    Args:
        kind: The class; its subclasses follow the same rule.
        rule: A whole `Rule`, or the tracing function. Without it, the result is a decorator for
            the tracing function.
        resize: How the layer's configuration shrinks, where a size stands in it.

    Returns:
        A decorator that registers the function it decorates.
    """

    def register(trace: TraceRule) -> TraceRule:
        REGISTERED[kind] = Rule(trace, resize)
        return trace

    if isinstance(rule, Rule):
        REGISTERED[kind] = rule
    elif rule is not None:
        register(rule)
    return register


def rule_for(operation: keras.Operation) -> Rule:
    """The rule of a layer's class or its nearest base class, or of an operation's name.

    A class that overrides `call` without a rule of its own computes something else than its base
    class, so it counts as unknown.
    """
    if not isinstance(operation, keras.Layer):
        return OPERATIONS.get(type(operation).__name__, merging.UNKNOWN)
    kind: Any = type(operation)
    for base in kind.__mro__:
        found = REGISTERED.get(base) or RULES.get(base)
        if found is not None:
            same = base in REGISTERED or kind.call is base.call
            return found if same else merging.UNKNOWN
    return merging.UNKNOWN
