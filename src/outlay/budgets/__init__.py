"""Which budgets cover a call, what it may cost at worst, whether it fits, and how a budget stands. Pure."""
