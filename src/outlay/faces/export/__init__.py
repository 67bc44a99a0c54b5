"""The ledger in the forms that others read: FOCUS, CSV, Parquet, and usage that customers are billed for."""
