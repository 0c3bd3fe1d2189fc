"""Packages as stacks of CloudFormation: planned, deployed, listed, deleted. What is deployed where is known to the cloud alone."""
