"""install-guard."""
