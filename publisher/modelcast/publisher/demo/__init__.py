"""``modelcast demo``: the whole story with a real broker, a real model and a real application, told as it happens.

Starts the application as processes of its own and talks HTTP to it; imports this room and ``shared``, never the consumer.
"""
