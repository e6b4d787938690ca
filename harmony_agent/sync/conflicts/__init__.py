"""Versions that lost, and what a person does with them."""
