"""Change markers: what each node tells the others."""
