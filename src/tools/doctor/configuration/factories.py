"""Which functions make a configuration: those that say so, by an annotation, by their docstring or
by their code. What a function is called says nothing."""

import ast
import contextlib
import inspect
import re
import typing

# As they are called where only a text tells.
NAMES = {"Config", "ParslExecutor", "HighThroughputExecutor"}
RETURNS = re.compile(
    r"(?:\A\s*(?:build|construct|create|make|give)s?\b|\breturn|:rtype).{0,120}?"
    r"\b(?:Config|\w*Executor|[Pp]arsl\W+config(?:uration)?)\b",
    re.DOTALL | re.ASCII,
)


def makes_one(function, tree, kinds):
    """Whether it is annotated, documented or seen to return one of the classes `kinds`; `tree` is
    the code of its file."""
    return (
        is_annotated(function, kinds)
        or bool(RETURNS.search(function.__doc__ or ""))
        or is_seen_to(function, tree, kinds)
    )


def needed_by(function):
    """The names of the arguments that it cannot be called without."""
    return [
        one.name
        for one in inspect.signature(function).parameters.values()
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]


def is_annotated(function, kinds):
    annotation = getattr(function, "__annotations__", {}).get("return")
    # What is known to checkers of types only stays a text.
    with contextlib.suppress(Exception):
        annotation = typing.get_type_hints(function).get("return")
    if isinstance(annotation, str):
        return any(word in NAMES for word in re.findall(r"\w+", annotation))
    return is_kind_within(annotation, kinds)


def is_kind_within(annotation, kinds):
    within = getattr(annotation, "__args__", None) or ()
    return is_kind(annotation, kinds) or any(is_kind_within(one, kinds) for one in within)


def is_kind(value, kinds):
    return isinstance(value, type) and issubclass(value, kinds)


def is_seen_to(function, tree, kinds):
    """`return Config(...)`, or a name that was given one."""
    code = next(
        (
            one
            for one in ast.walk(tree)
            if isinstance(one, ast.FunctionDef)
            and one.name == function.__name__
            and one.lineno <= function.__code__.co_firstlineno + len(one.decorator_list)
            and function.__code__.co_firstlineno <= one.end_lineno
        ),
        None,
    )
    steps = list(ast.walk(code)) if code else []
    given = {
        target.id
        for step in steps
        if isinstance(step, ast.Assign) and gives_kind(step.value, function, kinds)
        for target in step.targets
        if isinstance(target, ast.Name)
    }
    return any(
        gives_kind(step.value, function, kinds, given)
        for step in steps
        if isinstance(step, ast.Return) and step.value is not None
    )


def gives_kind(value, function, kinds, given=()):
    return any(
        is_call_of_kind(one, function, kinds) or (isinstance(one, ast.Name) and one.id in given)
        for one in results_of(value)
    )


def results_of(value):
    """What an expression may come to, or hold; what is only passed on to a call is neither."""
    within = []
    if isinstance(value, ast.IfExp):
        within = [value.body, value.orelse]
    elif isinstance(value, (ast.BoolOp, ast.Dict)):
        within = value.values
    elif isinstance(value, (ast.List, ast.Tuple)):
        within = value.elts
    elif isinstance(value, (ast.ListComp, ast.NamedExpr, ast.Subscript)):
        within = [value.elt if isinstance(value, ast.ListComp) else value.value]
    elif isinstance(value, ast.DictComp):
        within = [value.value]
    elif isinstance(value, ast.Lambda):
        within = [value.body]
    elif isinstance(value, ast.Call) and isinstance(value.func, (ast.Lambda, ast.Subscript)):
        within = [value.func]
    yield value
    for one in within:
        yield from results_of(one)


def is_call_of_kind(value, function, kinds):
    if not isinstance(value, ast.Call):
        return False
    called = value.func
    if isinstance(called, ast.Attribute):
        return called.attr in NAMES
    called = getattr(called, "id", None)
    return is_kind(function.__globals__.get(called), kinds) or called in NAMES
