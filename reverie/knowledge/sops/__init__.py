"""Standard operating procedures (SOPs): kept in versions, matched to tasks, measured."""

from reverie.knowledge.sops.book import PACKAGED, SopBook
from reverie.knowledge.sops.check import Check
from reverie.knowledge.sops.file import packaged_sops, read_sop_text, read_sops
from reverie.knowledge.sops.match import MINIMUM, WEIGHTS, matches
from reverie.knowledge.sops.meaning import similarities, sop_vectors
from reverie.knowledge.sops.nodes import sop_batch, sop_id, sync_sops, write_sop
from reverie.knowledge.sops.records import Added, Match, Parts, SopRecord, StoredSop, Used
from reverie.knowledge.sops.sop import Sop, SopStep
from reverie.knowledge.sops.statistics import SopStatistics

__all__ = [
    "MINIMUM",
    "PACKAGED",
    "WEIGHTS",
    "Added",
    "Check",
    "Match",
    "Parts",
    "Sop",
    "SopBook",
    "SopRecord",
    "SopStatistics",
    "SopStep",
    "StoredSop",
    "Used",
    "matches",
    "packaged_sops",
    "read_sop_text",
    "read_sops",
    "similarities",
    "sop_batch",
    "sop_id",
    "sop_vectors",
    "sync_sops",
    "write_sop",
]
