"""A real hour of traffic, priced as gpt-4o, equals the closed form to the last digit."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path

import outlay


def test_the_azure_trace_costs_its_closed_form(data_folder: Path, tmp_path: Path) -> None:
    with (data_folder / "azure-llm" / "AzureLLMInferenceTrace_conv.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 19_366
    with outlay.open(tmp_path / "azure.db") as ledger:
        outcomes = ledger.record_many(
            {
                "provider": "openai",
                "service": "gpt-4o",
                "operation": "chat",
                # Seven digits of a second: Outlay keeps six.
                "time": row["TIMESTAMP"][:26] + "+00:00",
                "usage": {
                    "input_tokens": int(row["ContextTokens"]),
                    "output_tokens": int(row["GeneratedTokens"]),
                },
            }
            for row in rows
        )
        assert {outcome.code for outcome in outcomes} == {"created"}
        read = sum(int(row["ContextTokens"]) for row in rows)
        written = sum(int(row["GeneratedTokens"]) for row in rows)
        # gpt-4o: $2.50 and $10.00 a million tokens.
        assert ledger.costs().total.amount == read * Decimal("0.0000025") + written * Decimal("0.00001")
        assert ledger.costs().events == 19_366
        assert ledger.audit().ok
