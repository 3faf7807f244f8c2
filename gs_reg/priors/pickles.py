"""Pickles of head models read without running what is in them: arrays, sparse matrices and chumpy's wrappers."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from gs_reg.errors import InputError, reading


class _Kept:
    """Stands for an object of a class that is not loaded; its state is kept."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Chumpy(_Kept):
    pass


class _Sparse(_Kept):
    pass


_RECONSTRUCT, _SCALAR = np.empty(0).__reduce__()[0], np.float64(0).__reduce__()[0]


class _Unpickler(pickle.Unpickler):
    """Finds nothing but what holds numbers."""

    def find_class(self, module: str, name: str) -> Any:
        root = module.partition(".")[0]
        if root == "numpy" and name in ("_reconstruct", "scalar", "ndarray", "dtype"):
            return {"_reconstruct": _RECONSTRUCT, "scalar": _SCALAR, "ndarray": np.ndarray, "dtype": np.dtype}[name]
        if root == "chumpy":
            return _Chumpy
        if module.startswith("scipy.sparse") and name in ("csc_matrix", "csr_matrix"):
            return type(name, (_Sparse,), {})
        if (module, name) in (("copyreg", "_reconstructor"), ("builtins", "object"), ("_codecs", "encode")):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is nothing that a head model needs: not loaded")


def read_arrays(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Named arrays of a pickled dictionary, sparse ones made dense.

    Raises:
        InputError: the file is missing, lacks a name or holds other objects; names it.
    """
    with reading(path), path.open("rb") as file:
        try:
            content = _Unpickler(file, encoding="latin1").load()
        except pickle.UnpicklingError as error:
            raise InputError(f"{path}: {error}") from error
        return {name: _array(content[name]) for name in names}


def _array(value: Any) -> np.ndarray:
    if isinstance(value, _Chumpy):
        return np.asarray(value.state["x"])
    if isinstance(value, _Sparse):
        import scipy.sparse

        state = value.state
        make = getattr(scipy.sparse, type(value).__name__)
        return make((state["data"], state["indices"], state["indptr"]), shape=state["_shape"]).toarray()
    return np.asarray(value)
