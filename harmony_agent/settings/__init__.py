"""Environment and secrets become one frozen, checked object; all mistakes in one report."""
