"""The scheduler: starts flows by the clock, each tick once, whoever dies and whatever is away meanwhile."""
