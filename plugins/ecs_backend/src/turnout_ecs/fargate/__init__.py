"""ECS on Fargate as a compute target: the runner, and services beside it, as tasks that live on."""
