"""Learning: the start, the gradient loop, reassignment, and their schedules."""
