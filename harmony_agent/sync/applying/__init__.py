"""Plans carried out, many files at once."""
