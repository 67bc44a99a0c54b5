"""The dashboard: pages rendered here, over the same routes that customers call. They never see the store."""

from __future__ import annotations

from typing import Final

MODULES: Final = (
    "entry",
    "overview",
    "explore",
    "jobs",
    "people",
    "budgets",
    "alerts",
    "ahead",
    "advising",
    "prices",
    "categories",
    "seen",
    "cloud",
    "settings",
    "drawing",
)
"""The modules of this package that have `PAGES`, in order."""
