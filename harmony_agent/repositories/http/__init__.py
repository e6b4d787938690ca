"""HTTP as the object stores need it."""
