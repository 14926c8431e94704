"""Networks that others wrote, read: how many, and why some are refused."""
