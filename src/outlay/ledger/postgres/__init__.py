"""The PostgreSQL adapter of the ledger: many hosts, through psycopg. It needs the extra `postgres`."""
