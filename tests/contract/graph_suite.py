"""What every graph store has to do, as tests.

A module of tests makes a subclass of ``GraphStoreSuite`` whose fixture ``reopen`` opens a store of
its kind: the same data each time within a test, none at its beginning.
"""

from __future__ import annotations

from tests.contract.graph_copying import Copying
from tests.contract.graph_hostile import Hostile
from tests.contract.graph_paths import Paths
from tests.contract.graph_properties import Properties
from tests.contract.graph_searching import Searching
from tests.contract.graph_sources import Sources
from tests.contract.graph_walking import Walking
from tests.contract.graph_writing import Writing


class GraphStoreSuite(Writing, Sources, Paths, Searching, Walking, Properties, Hostile, Copying):
    """All of it."""
