"""Money: prices, plans, and the thin face of the ledger."""
