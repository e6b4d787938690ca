"""The license without network: decisions, record, mails, and four days in virtual time."""
