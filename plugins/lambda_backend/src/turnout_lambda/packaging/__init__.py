"""Making what Lambda runs: needs the extra `package`, and no account."""
