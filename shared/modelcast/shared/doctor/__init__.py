"""What ``modelcast doctor`` looks at: the road, this host, and by entry point what other rooms know of a store or a register."""
