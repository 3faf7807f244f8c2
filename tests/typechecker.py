"""The run-time type checker of the tests: every annotated function of gs_reg checks its shapes and types."""

from pathlib import Path

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as static checkers have it


BARE = {"_ops", "_kernels"}
"""Modules left out: torch.library and numba read the bare functions."""


def install() -> None:
    """To be called before the first import of gs_reg."""
    root = Path(__file__).parents[1]
    folders = {"gs_reg": root / "gs_reg", "gs_reg.apps": root / "apps", "gs_reg.data_tools": root / "data_tools"}
    names = []
    for package, folder in folders.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            # Naming a package names all that is in it, so those with nothing but names in their __init__ are not named.
            if BARE.isdisjoint(parts) and parts[-1] not in ("__init__", "__main__"):
                names.append(".".join([package, *parts]))
    install_import_hook([*names, "gs_reg.render", "gs_reg.terms", "gs_reg.io"], f"{__name__}.check")
