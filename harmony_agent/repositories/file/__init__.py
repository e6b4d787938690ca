"""A mounted folder as a repository."""
