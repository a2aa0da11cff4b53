"""The shared kernel: pure functions every service decides with, so no two services can disagree."""
