"""What people use features for first: near-duplicates and outliers in their own pictures."""
