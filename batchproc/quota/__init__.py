"""Where a quota is kept that several runs share: a file on this host (SQLite), or a server (Redis, Valkey)."""
