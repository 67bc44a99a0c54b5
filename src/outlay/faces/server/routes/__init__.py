"""The resources behind the hot routes: each module named here has a FastAPI `router`."""

from __future__ import annotations

from typing import Final

MODULES: Final[tuple[str, ...]] = (
    "costs",
    "receipts",
    "budgets",
    "reservations",
    "prices",
    "keeping",
    "live",
    "seeds",
    "alerts",
    "reports",
    "analysis",
    "bills",
    "estimates",
    "advice",
    "views",
    "access_keys",
    "changes",
    "documents",
)
"""The modules of this package whose routers the server includes, in order."""
