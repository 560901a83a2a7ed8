"""Commands of those who operate a fleet: promote, roll back, and look at what is where and why."""
