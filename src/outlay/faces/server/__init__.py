"""One process that a team starts with `outlay serve`: programs send usage and ask budgets, people and tools read.

    uvicorn ─> app (raw ASGI: access, limits, hot routes) ─> FastAPI (resources, routes/)
                 │ hot routes
                 └─> writer thread: one group, one transaction, answered after COMMIT

Importing this package imports nothing optional; `create_app` needs the extra `server`.
"""
