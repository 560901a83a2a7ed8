"""What both sides must agree on: words, values, bytes on the wire, names of queues, and the seam to a road.

Imports neither ``modelcast.publisher`` nor ``modelcast.consumer``. Importing it starts, opens and configures nothing.
"""
