"""The application's side: receive, verify, try and promote a release."""
