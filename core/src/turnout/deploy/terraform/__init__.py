"""A target's description as a configuration of Terraform."""
