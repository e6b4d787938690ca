"""The container image, alone and beside Harmony's container."""
