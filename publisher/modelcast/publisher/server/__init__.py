"""``modelcast serve``: a depot by HTTP, for those who cannot mount it. Needs the extra ``modelcast[server]``."""
