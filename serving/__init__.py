"""Jobs and models: the queue, the worker, the engines and their deployments, the HTTP doors."""
