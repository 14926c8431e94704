"""Code of networks: a template of Python with the decisions of an architecture as its constants.

A template is a file of `templates/` that runs as it stands. It is read as text and never imported.
Its copy gets another docstring and other constants, and the definitions that the template imports
from `layers.py` beside it, so that the copy needs PyTorch alone. The copy is formatted as
`ruff format` leaves it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["filled", "network_code"]

_PACKAGE = "nasplug.search_spaces.templates"
# The default of ruff and black.
_WIDTH = 88
_FOLDED = "with each batch normalisation folded into the convolution before it"


def network_code(
    template: str,
    constants: Mapping[str, Any],
    name: str,
    text: str,
    costs: Mapping[str, float],
    folded: bool,
) -> str:
    """Write the code of a network.

    Args:
        template: Name of the template, such as `"nb201"`.
        constants: Values of the template's constants by name; `"IMAGE"` is the shape of an image,
            `"LENGTH"` the number of tokens that a language model reads.
        name: Name of the architecture.
        text: Text of the architecture, as its space reads it.
        costs: `"params"` and `"flops"`, the multiply-accumulates of one image or sequence.
        folded: Whether the parameters are counted with batch normalisations folded into the
            convolutions before them, as they run on a device.

    Returns:
        The text of a Python file.
    """
    if "IMAGE" in constants:
        read = f"an image of {'x'.join(map(str, constants['IMAGE']))}"
    else:
        read = f"a sequence of {constants['LENGTH']:,} tokens"
    counting = f" ({_FOLDED})" if folded and "Norm" in _source(template) else ""
    about = [
        f"Architecture: {text}",
        f"Parameters: {costs['params']:,.0f}{counting}",
        f"Multiply-accumulates: {costs['flops']:,.0f} for {read}",
        "Weights: random, until the network is trained",
    ]
    return filled(template, constants, name, "\n".join(about))


def filled(template: str, constants: Mapping[str, Any], name: str = "", about: str = "") -> str:
    """Fill a template.

    Args:
        template: Name of the template.
        constants: Values of some of its constants, by name.
        name: Ends the first sentence of the docstring.
        about: Paragraph of the docstring after its first sentence.

    Returns:
        The text of a Python file.
    """
    source = _source(template)
    lines, (first, *body) = source.splitlines(), ast.parse(source).body
    layers, missing = _layers(), set(constants)
    imports = [s for s in body if isinstance(s, ast.Import | ast.ImportFrom)]
    (start, _), (_, end) = _span(imports[0]), _span(imports[-1])
    edits = [(start, end, _imports(source))]
    if about:
        assert isinstance(first, ast.Expr)
        edits.append((*_span(first), _docstring(ast.literal_eval(first.value), name, about)))
    written: set[str] = set()
    for statement in body:
        start, end = _span(statement)
        match statement:
            case ast.Import() | ast.ImportFrom():
                pass
            case ast.Assign(targets=[ast.Name(id=constant)]) if constant in constants:
                missing.remove(constant)
                edits.append((start, end, _literal(constants[constant], f"{constant} = ")))
            case _:
                # A definition stands before the first statement that needs it.
                needed = [n for n in _needed(_names(statement)) if n not in written]
                written.update(needed)
                definitions = [line for n in needed for line in [*layers[n][0], "", ""]]
                edits.append((start, start, definitions))
    assert not missing, f"{template} has no constants {missing}"
    for start, end, replacement in sorted(edits, reverse=True):
        lines[start:end] = replacement
    return "\n".join(lines) + "\n"


def _source(template: str) -> str:
    return (files("nasplug.search_spaces") / "templates" / f"{template}.py").read_text("utf-8")


def _span(statement: ast.stmt) -> tuple[int, int]:
    """Index of a statement's first line, and of the line after its last one."""
    return statement.lineno - 1, statement.end_lineno or statement.lineno


def _names(statement: ast.AST) -> set[str]:
    """Names that a statement reads."""
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}


@cache
def _layers() -> dict[str, tuple[list[str], set[str]]]:
    """Lines of each definition of `layers.py`, and the names that it reads, in their order."""
    source = _source("layers")
    lines = source.splitlines()
    return {
        statement.name: (lines[slice(*_span(statement))], _names(statement))
        for statement in ast.parse(source).body
        if isinstance(statement, ast.ClassDef | ast.FunctionDef)
    }


def _needed(names: set[str]) -> list[str]:
    """Definitions of `layers.py` among names, and all that these need, in their order."""
    layers, needed = _layers(), set(names)
    # A definition needs earlier ones alone.
    for name, (_, used) in reversed(layers.items()):
        if name in needed:
            needed |= used
    return [name for name in layers if name in needed]


def _imports(source: str) -> list[str]:
    """Lines that import what a template and the definitions that it needs use."""
    tree = ast.parse(source)
    used = _names(tree)
    for name in _needed(used):
        used |= _layers()[name][1]
    names: dict[tuple[bool, str], set[str]] = {}
    for statement in (*tree.body, *ast.parse(_source("layers")).body):
        match statement:
            case ast.Import(names=[ast.alias(name=module)]) if module.split(".")[0] in used:
                names.setdefault((False, module), set())
            case ast.ImportFrom(module=str(module)) if not module.startswith(_PACKAGE):
                found = {alias.name for alias in statement.names} & used
                if found:
                    names.setdefault((True, module), set()).update(found)
    groups: dict[bool, list[str]] = {}
    for (is_from, module), found in sorted(names.items()):
        # Constants, classes, functions and modules, as isort sorts them.
        listed = sorted(found, key=lambda name: (name.islower(), name))
        line = f"from {module} import {', '.join(listed)}" if is_from else f"import {module}"
        is_standard = module.split(".")[0] in sys.stdlib_module_names
        groups.setdefault(is_standard, []).append(line)
    return [*groups.get(True, []), *([""] if len(groups) == 2 else []), *groups.get(False, [])]


def _docstring(docstring: str, name: str, about: str) -> list[str]:
    first, _, others = docstring.partition("\n\n")
    title = f"{first.removesuffix('.')}: {name}."
    parts = [title, about, *([others.strip()] if others else [])]
    text = "\n\n".join(parts).replace("\\", "\\\\").replace('"', '\\"')
    return f'"""{text}\n"""'.splitlines()


def _literal(value: Any, before: str = "", after: str = "") -> list[str]:
    """Lines of a constant, between texts on its first and after its last line."""
    whole = f"{before}{_flat(value)}{after}"
    if len(whole) <= _WIDTH or not isinstance(value, tuple):
        return [whole]
    indent = " " * (len(before) - len(before.lstrip()) + 4)
    inner = [line for item in value for line in _literal(item, indent, ",")]
    return [f"{before}(", *inner, f"{indent[4:]}){after}"]


def _flat(value: Any) -> str:
    if isinstance(value, tuple):
        items = ", ".join(map(_flat, value))
        return f"({items},)" if len(value) == 1 else f"({items})"
    if isinstance(value, str):
        text = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{text}"'
    return repr(value)
