"""The resources behind the hot routes: each module named here has a FastAPI `router`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fastapi import FastAPI

MODULES: Final[tuple[str, ...]] = (
    "costs",
    "receipts",
    "budgets",
    "reservations",
    "prices",
    "keeping",
    "live",
    "seeds",
    "changes",
)
"""The modules of this package whose routers the server includes, in order."""


def describe(app: FastAPI) -> None:
    """Complete the OpenAPI document: the hot routes are not FastAPI's own."""
