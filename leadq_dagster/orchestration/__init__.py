"""Dagster stops here: partitions, resources, assets, jobs, schedules and sensors."""
