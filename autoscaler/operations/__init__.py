"""What people do to a fleet that is there: roll new settings through a pool, undo a decision; pure."""
