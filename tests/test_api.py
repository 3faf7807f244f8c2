"""`import gs_reg` offers the nouns of the library, each loaded where it is first used; docs/api.md lists them."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import gs_reg

ROOT = Path(__file__).parents[1]
NAMES = sorted({*gs_reg._HOME, *gs_reg._MODULES})


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_gs_reg_loads_nothing():
    before = set(python("import sys; import importlib, typing; print(*sys.modules)").split())
    after = set(python("import sys; import importlib, typing, gs_reg; dir(gs_reg); print(*sys.modules)").split())
    assert after - before == {"gs_reg"}


def test_names_are_where_they_are_defined():
    from gs_reg.render import RenderConfig
    from gs_reg.types import Splats

    assert gs_reg.Splats is Splats and gs_reg.RenderConfig is RenderConfig
    assert gs_reg.terms is sys.modules["gs_reg.terms"]
    for name in NAMES:
        assert getattr(gs_reg, name).__doc__, name


def test_names_are_listed_and_others_refused():
    assert set(NAMES) < set(dir(gs_reg))
    with pytest.raises(AttributeError, match="'gs_reg' has no attribute 'Splat'"):
        gs_reg.Splat  # noqa: B018
    with pytest.raises(ImportError):
        from gs_reg import no_such_name  # noqa: F401


@pytest.mark.parametrize("first", ["", "import gs_reg.shot", "import gs_reg.render, gs_reg.fit", "gs_reg.RenderConfig"])
def test_render_and_fit_are_functions_and_modules_whatever_is_imported_before(first):
    code = f"""
import gs_reg, inspect
{first}
from gs_reg import fit, render
from gs_reg.render import render as function
for call in (gs_reg.render, gs_reg.fit, render, fit):
    try:
        call()
    except TypeError as error:
        print(error)
import gs_reg.render as module
assert module.render is function and module.project is gs_reg.project and inspect.ismodule(module)
"""
    lines = python(code).splitlines()
    assert len(lines) == 4
    assert lines[0] == lines[2] == "render() missing 2 required positional arguments: 'splats' and 'cameras'"
    assert lines[1].startswith("fit() missing 4 required positional arguments")


def test_no_name_is_that_of_a_module():
    """It would be the one or the other, depending on what is imported before."""
    modules = {path.stem for path in (ROOT / "gs_reg").iterdir()}
    assert modules & set(NAMES) == {"render", "fit", *gs_reg._MODULES}


def test_the_page_of_the_library_is_current():
    done = subprocess.run([sys.executable, str(ROOT / "scripts" / "api_docs.py"), "--check"], stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr.decode()


def test_type_checkers_see_the_same_names():
    """The imports under TYPE_CHECKING and the table that is used at run time."""
    tree = ast.parse(inspect.getsource(gs_reg))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.asname: node.module for node in imports for alias in node.names}
    assert all(alias.name == alias.asname for node in imports for alias in node.names)
    assert seen == {**gs_reg._HOME, **dict.fromkeys(gs_reg._MODULES, "gs_reg")}
