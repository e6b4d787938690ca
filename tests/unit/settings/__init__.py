"""Settings: environment, flags, secret files."""
