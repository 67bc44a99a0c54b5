"""The gateway: programs in any language change their base URL and are measured, attributed and capped."""
