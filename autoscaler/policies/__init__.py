"""What a rule asks for: one class per file, each a `Policy`."""
