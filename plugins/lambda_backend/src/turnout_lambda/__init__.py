"""Turnout on AWS Lambda: payloads in S3. Nothing here is imported before it is asked for."""
