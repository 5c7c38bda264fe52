"""How the simulation is compiled: machine code without Python inside, kept on disk under a number that names it."""

import hashlib
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from numba import njit


def jit(function: Any) -> Any:
    """Compile a rule of arithmetic, which Python may call too. Only the whole is kept on disk, see ``fingerprint``."""
    return njit(error_model="numpy")(function)


def part(function: Any) -> Any:
    """Compile a part of the simulation that compiled code alone calls: a door for Python would cost seconds."""
    options: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return njit(error_model="numpy", **options)(function)


def fingerprint(modules: Iterable[ModuleType]) -> int:
    """Return a number that changes with every function and constant of ``modules``.

    numba's cache on disk looks at the file of the cached function only: without this number in that function's
    signature, machine code of an older version of these modules would go on running.
    """
    digest = hashlib.sha256()
    for module in modules:
        for name, value in sorted(vars(module).items()):
            if hasattr(value, "py_func"):
                code = value.py_func.__code__
                digest.update(repr((name, code.co_code, code.co_consts, code.co_names)).encode())
            elif isinstance(value, int | float | tuple):
                digest.update(repr((name, value)).encode())
            elif hasattr(value, "_fields"):
                digest.update(repr((name, value._fields)).encode())
    return int.from_bytes(digest.digest()[:7], "big")
