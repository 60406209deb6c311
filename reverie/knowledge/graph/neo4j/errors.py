"""The errors of the Neo4j driver, as Reverie's."""

from __future__ import annotations

from reverie.errors import ConfigError, KnowledgeUnavailable, ReverieError
from reverie.settings import Neo4jSettings

_LONGEST = 300
"""Characters of what a server says."""


def no_answer(settings: Neo4jSettings, seconds: float) -> KnowledgeUnavailable:
    """The error for a server that did not answer in time."""
    return KnowledgeUnavailable(
        f"Neo4j at {settings.uri} did not answer within {seconds:g} s",
        hint="It may be overloaded, or another program may hold the port. If it is only slow: "
        "neo4j.query_seconds, neo4j.connect_seconds",
    )


def driver_error(error: Exception, settings: Neo4jSettings) -> ReverieError:
    """What the driver raised, with what to do about it. Holds no password."""
    from neo4j import exceptions as e

    uri = settings.uri
    code = getattr(error, "code", None) or ""
    if isinstance(error, e.UnsupportedServerProduct):
        return KnowledgeUnavailable(
            f"What answers at {uri} is no Neo4j that this driver knows",
            hint="Set neo4j.uri to the address that Neo4j has for Bolt (port 7687)",
        )
    if isinstance(error, e.ConfigurationError):
        return ConfigError(f"Neo4j cannot be used as configured: {_said(error)}", hint="neo4j.uri")
    if isinstance(error, (e.AuthError, e.TokenExpired)) or ".Security." in code:
        return _refused(settings)
    if "TransactionTimedOut" in code or "LockClientStopped" in code:
        return no_answer(settings, settings.query_seconds)
    if "DatabaseNotFound" in code or "DatabaseUnavailable" in code:
        name = "of its own" if settings.database is None else repr(settings.database)
        message = f"Neo4j at {uri} has no database {name} that can be used: {_said(error)}"
        hint = "Set neo4j.database to one it has, or to null for the user's own"
    elif "MemoryPool" in code or "OutOfMemory" in code:
        message = f"Neo4j at {uri} has too little memory for this: {_said(error)}"
        hint = "Write smaller batches, or raise server.memory.heap.max_size there"
    elif isinstance(error, (e.DriverError, OSError)):
        message = f"Neo4j at {uri} cannot be reached, or the connection broke: {_said(error)}"
        hint = (
            "Start it, or set neo4j.uri to the address that it has for Bolt (port 7687, not the "
            "one for browsers)"
        )
    else:
        message = f"Neo4j at {uri} could not do it: {_said(error)}"
        hint = "Its log may say more"
    return KnowledgeUnavailable(message, hint=hint)


def _refused(settings: Neo4jSettings) -> KnowledgeUnavailable:
    if settings.password is None:
        return KnowledgeUnavailable(
            f"Neo4j at {settings.uri} wants a user and a password",
            hint="Set neo4j.user and neo4j.password (REVERIE_NEO4J_PASSWORD)",
        )
    return KnowledgeUnavailable(
        f"Neo4j at {settings.uri} refuses the user {settings.user!r} with this password",
        hint="Set neo4j.user and neo4j.password (REVERIE_NEO4J_PASSWORD) to what it knows",
    )


def _said(error: Exception) -> str:
    text = " ".join(str(getattr(error, "message", None) or error).split())
    return text[:_LONGEST] or type(error).__name__
