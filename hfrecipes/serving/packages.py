"""Packages of the extras that serving needs."""

from __future__ import annotations

from importlib.util import find_spec

from ..errors import MissingPackageError


def need(*packages: str) -> None:
    """Refuse to go on without these packages.

    Raises:
        MissingPackageError: One of them is not installed.
    """
    for package in packages:
        if find_spec(package) is None:
            raise MissingPackageError(f"the package {package} is not installed: pip install {' '.join(packages)}")
