"""What executions would cost, and how long they would take, on each compute target. Values in, values out; no cloud is asked."""
