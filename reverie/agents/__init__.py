"""What an application embeds: the reasoner and its results."""
