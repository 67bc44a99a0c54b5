"""The ledger: pure rules and fold, the store protocol, and its adapters memory and sqlite."""
