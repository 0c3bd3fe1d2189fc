"""The parts of the local record stores: tables, writing, reading, removing."""
