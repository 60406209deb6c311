"""The measuring model: questions with one right answer, and a small model that some ways of asking
make good at them and others do not.

``python -m reverie.evals.gym merge`` makes the model, ``record`` asks it every question with every
strategy, ``table`` shows what came. The benchmark ``selection_real`` reads the same records.
"""
