"""Small mistakes put into source text, one at a time: the kinds that people make in a loss."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

_CARELESS = {  # stable forms by the naive ones, of the source text of their arguments
    "logsigmoid": "torch.sigmoid({0}).log()",
    "log_others": "torch.log(1 - at({0}, {1}).exp())",
    "softplus": "torch.log(1 + torch.exp({0}))",
    "logaddexp": "torch.log(torch.exp({0}) + torch.exp({1}))",
    "log_softmax": "{self}.softmax(dim=-1).log()",
}
_OTHER_AXIS = {-1: 0, 0: -1}
_OTHER_REDUCTION = {"mean": "sum", "sum": "mean"}


@dataclass(frozen=True)
class Mutant:
    """One mistake: where it is, of which kind, what it replaces by what, and the whole mutated source."""

    module: str
    place: str
    kind: str
    before: str
    after: str
    source: str

    @property
    def name(self) -> str:
        return f"{self.place} [{self.kind}] {self.before} -> {self.after}"


def _replacements(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield kind and replacement for every mistake that can be made at a node."""
    if isinstance(node, ast.BinOp):
        if isinstance(node.op, ast.Add | ast.Sub):
            other = deepcopy(node)
            other.op = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
            yield "sign", other
        if isinstance(node.op, ast.Mult):
            yield "factor", node.left
            yield "factor", node.right
        if isinstance(node.op, ast.Div | ast.Pow):
            yield "factor", node.left
        if isinstance(node.op, ast.Mult | ast.Add | ast.Sub | ast.Div):
            for side in ("left", "right"):
                operand = getattr(node, side)
                if not isinstance(operand, ast.Constant):
                    detached = deepcopy(node)
                    setattr(detached, side, ast.parse(f"({ast.unparse(operand)}).detach()", mode="eval").body)
                    yield "detached", detached
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
        yield "sign", node.operand
    elif isinstance(node, ast.Attribute) and node.attr == "log_probs" and isinstance(node.value, ast.Name):
        yield "careless", ast.parse(f"{node.value.id}.probs.log()", mode="eval").body
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
        yield from _of_calls(node)


def _of_calls(node: ast.Call) -> Iterator[tuple[str, ast.AST]]:
    called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
    if called in _CARELESS:
        subject = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else "F"
        if subject == "F":  # the method's form, of a function's first argument
            subject = ast.unparse(node.args[0])
        naive = _CARELESS[called].format(*map(ast.unparse, node.args), self=f"({subject})")
        yield "careless", ast.parse(naive, mode="eval").body
    if called in _OTHER_REDUCTION and isinstance(node.func, ast.Attribute):
        other = deepcopy(node)
        other.func.attr = _OTHER_REDUCTION[called]
        yield "axis", other
    for position, keyword in enumerate(node.keywords):
        try:
            axis = ast.literal_eval(keyword.value)
        except ValueError:
            continue
        if keyword.arg == "dim" and axis in _OTHER_AXIS:
            other = deepcopy(node)
            other.keywords[position].value = ast.parse(str(_OTHER_AXIS[axis]), mode="eval").body
            yield "axis", other


class _At(ast.NodeTransformer):
    """Replace the n-th node of a walk."""

    def __init__(self, target: ast.AST, replacement: ast.AST) -> None:
        self.target = target
        self.replacement = replacement

    def visit(self, node: ast.AST) -> ast.AST:
        return self.replacement if node is self.target else self.generic_visit(node)


def mutants(module: str, source: str, classes: set[str] | None = None) -> Iterator[Mutant]:
    """Yield every mutant of the computing functions of a module: all but constructors and link properties.

    ``classes`` restricts them to these classes and functions.
    """
    for owner in ast.parse(source).body:
        if not isinstance(owner, ast.ClassDef | ast.FunctionDef) or (classes is not None and owner.name not in classes):
            continue
        functions = [owner] if isinstance(owner, ast.FunctionDef) else owner.body
        for function in functions:
            if not isinstance(function, ast.FunctionDef) or function.name in ("__init__", "link"):
                continue
            place = f"{module.rsplit('.')[-1]}.{owner.name}" + ("" if function is owner else f".{function.name}")
            yield from _of_function(module, source, place, function)


def _of_function(module: str, source: str, place: str, function: ast.FunctionDef) -> Iterator[Mutant]:
    for statement in function.body:
        if isinstance(statement, ast.If | ast.Raise):  # choices of the task and errors, not formulas
            continue
        for node in ast.walk(statement):
            for kind, replacement in _replacements(node):
                before, after = ast.unparse(node), ast.unparse(replacement)
                lines = source.splitlines(keepends=True)
                start, end = statement.lineno - 1, statement.end_lineno
                mutated = deepcopy(statement)
                twin = list(ast.walk(mutated))[list(ast.walk(statement)).index(node)]
                text = ast.unparse(_At(twin, replacement).visit(mutated))
                indented = "".join(" " * statement.col_offset + line + "\n" for line in text.splitlines())
                yield Mutant(module, place, kind, before, after, "".join([*lines[:start], indented, *lines[end:]]))
