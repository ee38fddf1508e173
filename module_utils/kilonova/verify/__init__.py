"""What `make verify` does to a cloud, as a tenant would; see docs/verify.md."""
