"""The enterprise license: verification, grace, mail, ticket."""
