"""What turns the network's raw answers into statements: probabilities, class sets, sizes with intervals, out-of-distribution warnings."""
