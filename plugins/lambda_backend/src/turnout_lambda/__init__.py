"""Turnout on AWS Lambda: the queue on SQS, payloads in S3. Nothing here is imported before it is asked for."""
