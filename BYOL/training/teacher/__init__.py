"""Training with a teacher: a published network whose features the online network predicts."""
