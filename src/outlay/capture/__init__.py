"""The world becomes usage events: what callers, providers and files say was used. No money is computed here."""
