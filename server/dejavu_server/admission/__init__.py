"""Admission of calls: a worker refuses excess calls before they cost anything."""
