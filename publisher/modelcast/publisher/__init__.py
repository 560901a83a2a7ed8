"""The update service's side: build, sign and publish a release."""
