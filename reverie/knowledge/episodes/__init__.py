"""Episodic memory: what was learnt, when, and how much of it still counts."""

from reverie.knowledge.episodes.episode import Episode, Occasion, Recalled, strength
from reverie.knowledge.episodes.memory import Compaction, EpisodicMemory, Totals

__all__ = ["Compaction", "Episode", "EpisodicMemory", "Occasion", "Recalled", "Totals", "strength"]
