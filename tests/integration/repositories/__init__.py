"""The connectors against real storage servers."""
