"""Cache of compiled code, and elementary functions for compiled loops."""
