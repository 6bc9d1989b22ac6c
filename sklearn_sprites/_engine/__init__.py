"""The PyTorch engine behind the estimators; nothing here imports scikit-learn.

Read from the bottom up; a file imports only from floors below it:

- ground: ``ops/`` pure functions of tensors, ``runtime.py``, ``records.py``,
  ``spec.py`` and ``settings.py``;
- floor 1: ``modules/``, where parameters live;
- floor 2: ``models/``, which put modules together;
- floor 3: ``training/``, which learns a model from images;
- floor 4: ``inference.py``, which applies a learned model to images.
"""
