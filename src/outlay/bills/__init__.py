"""Bills come in: a provider's statement is kept whole, and what nothing else measured is charged from it.

A row of a service whose calls the ledger records itself waits for reconciliation, so that no cost counts twice.
The other rows (a database by the hour, a load balancer) become charges with basis `billed`: one for each day,
service, resource, region, account and set of tags, so that an hourly bill of a month does not fill the ledger.
"""

from __future__ import annotations

from outlay.bills.taking import ImportedStatement, import_rows

__all__ = ["ImportedStatement", "import_rows"]
