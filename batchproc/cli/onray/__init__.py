"""`--engine ray`: the shards of a run in the workers of a Ray cluster, merged as they end."""
