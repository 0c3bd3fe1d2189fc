"""What tests of this package and of others start: real Redis servers."""
