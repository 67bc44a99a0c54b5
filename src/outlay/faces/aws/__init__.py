"""AWS told of what is spent: metrics, dashboards, alarms, budgets, anomalies, and care for storage, tasks and logs.

All of it from one definition, the `[aws]` table of outlay.toml and the ledger's own budgets and rules.
"""
