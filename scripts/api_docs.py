"""Writes docs/api.md from the docstrings of what `import gs_reg` offers: python scripts/api_docs.py [--check]"""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"
HEAD = """# The library

`import gs_reg` offers these names; each loads where it is first used. Shapes stand in the annotations (jaxtyping): N
splats, C cameras, H x W pixels, K = (degree + 1)^2 coefficients of spherical harmonics. Tensors are float32 or float64,
on the CPU or on CUDA. Cameras look along +z, x is right and y down; centres of pixels are at .5. All dataclasses but
State are frozen.

`gs_reg.render` and `gs_reg.fit` are modules, too: `from gs_reg.render import lift` works beside `gs_reg.render(...)`.
The applications and readers are `gs_reg.apps` and `gs_reg.data_tools`. [examples](examples) has three scripts.

This page is written by `python scripts/api_docs.py`.
"""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def docstring(node: ast.Module | ast.ClassDef | Function) -> str:
    return ast.get_docstring(node) or ""


def header(function: Function, shown_as: str, width: int = 100) -> str:
    """The call as one would write it, on one line or with a line for each parameter."""
    result = "" if function.returns is None else f" -> {ast.unparse(function.returns)}"
    parts = [part for part in parameters(function.args) if part not in ("self", "cls")]
    line = f"{shown_as}({', '.join(parts)}){result}"
    return line if len(line) <= width else f"{shown_as}(\n" + "".join(f"    {p},\n" for p in parts) + f"){result}"


def parameters(arguments: ast.arguments) -> list[str]:
    def one(argument: ast.arg, default: ast.expr | None) -> str:
        value = "" if default is None else f" = {ast.unparse(default)}"
        return ast.unparse(argument) + value

    plain = arguments.posonlyargs + arguments.args
    defaults = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
    parts = [one(argument, default) for argument, default in zip(plain, defaults, strict=True)]
    if arguments.vararg is not None:
        parts.append("*" + ast.unparse(arguments.vararg))
    elif arguments.kwonlyargs:
        parts.append("*")
    parts += [one(a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return parts + ([] if arguments.kwarg is None else ["**" + ast.unparse(arguments.kwarg)])


def fields(node: ast.ClassDef) -> list[str]:
    """One line of a list for each field, with the docstring below it."""
    lines = []
    for field, after in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        default = "" if field.value is None else f" = {ast.unparse(field.value)}"
        text = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            text = f": {' '.join(str(after.value.value).split())}"
        lines.append(f"- `{field.target.id}: {ast.unparse(field.annotation)}{default}`{text}")
    return lines


def methods(node: ast.ClassDef) -> list[str]:
    """Public methods that have a docstring, and properties."""
    lines = []
    for method in node.body:
        if isinstance(method, Function) and not method.name.startswith("_"):
            is_property = any(ast.unparse(d) in ("property", "cached_property") for d in method.decorator_list)
            shown = f".{method.name}" + (f" -> {ast.unparse(method.returns)}" if is_property and method.returns else "")
            static = any(ast.unparse(d) in ("staticmethod", "classmethod") for d in method.decorator_list)
            called = f"{node.name if static else ''}.{method.name}"
            call = shown if is_property else header(method, called, width=10_000)
            text = " ".join(docstring(method).split("\n\n")[0].split())
            lines.append(f"- `{call}`" + (f": {text}" if text else ""))
    return lines


def entry(name: str, node: ast.ClassDef | Function) -> str:
    if isinstance(node, ast.ClassDef):
        makers = [m for m in node.body if isinstance(m, Function) and m.name == "__init__"]
        shown = "".join(f"\n```python\n{header(m, name)}\n```\n" for m in makers)
        lines = [*fields(node), *methods(node)]
        body = f"{docstring(node)}\n{shown}\n" + "\n".join(lines)
    else:
        body = f"```python\n{header(node, name)}\n```\n\n{docstring(node)}"
    return f"### {name}\n\n{body.strip()}\n"


def page() -> str:
    import gs_reg

    parts = [HEAD]
    for module, names in gs_reg._NAMES.items():
        parts.append(f"## gs_reg.{module}\n")
        for name in names.split():
            value = getattr(gs_reg, name)
            value = getattr(value, name) if inspect.ismodule(value) else value  # render and fit
            source = ast.parse(Path(inspect.getfile(inspect.unwrap(value))).read_text(encoding="utf-8"))
            (node,) = (n for n in source.body if isinstance(n, ast.ClassDef | Function) and n.name == name)
            parts.append(entry(name, node))
    return "\n".join(parts)


if __name__ == "__main__":
    if "--check" not in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page():
        raise SystemExit("docs/api.md is not current: python scripts/api_docs.py")
