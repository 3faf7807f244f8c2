"""The run-time type checker of the tests: every annotated function of gs_reg checks its shapes and types."""

from pathlib import Path

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as static checkers have it


def install() -> None:
    """To be called before the first import of gs_reg. `_ops` is left out: torch.library reads its bare signatures."""
    inside = {path.stem for path in (Path(__file__).parents[1] / "gs_reg").iterdir()} - {"_ops", "__init__", "__main__"}
    install_import_hook([f"gs_reg.{name}" for name in sorted(inside | {"apps", "data_tools"})], f"{__name__}.check")
