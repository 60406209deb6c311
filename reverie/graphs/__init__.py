"""LangGraph state machines: the reason graph, its strategies, and the state they share."""
