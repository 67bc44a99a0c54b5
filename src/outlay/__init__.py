"""The ledger of what an AI application spends."""
