"""The two shared repositories: one narrow interface, five connectors, layout and lease."""
