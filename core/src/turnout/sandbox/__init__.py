"""What sandboxes are built with, ours and third parties': the pool of warm processes (`pool.py`), one process from start to
end (`process.py`), the conversation with it (`conversation.py`, `channel.py`, `frames.py`) and its other side (`bootstrap/`)."""
