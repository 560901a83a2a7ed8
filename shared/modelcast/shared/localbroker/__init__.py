"""A broker to try things out with: chosen, installed if need be, and run without touching the system's own.

``chooser`` decides which broker is used, ``node`` runs a private RabbitMQ, ``commands`` is ``modelcast broker``. This room
starts processes and nothing else does; it never speaks AMQP beyond the first eight bytes and imports no other room.
"""
