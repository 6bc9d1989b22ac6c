"""The PyTorch engine behind the estimators; nothing here imports scikit-learn.

Read from the bottom up; a file imports only from floors below it:

- ground: ``ops/`` pure functions of tensors, ``runtime.py``, ``records.py``,
  ``spec.py`` and ``settings.py``, and for scenes ``scene_records.py``,
  ``scene_spec.py`` and ``scene_settings.py``;
- floor 1: ``modules/``, where parameters live;
- floor 2: ``models/``, which put modules together;
- floor 3: ``search/``, which finds the layers of scenes, and ``training/``, which
  learns a model, or the sprites of scenes, from images;
- floor 4: ``inference.py`` and ``scene_inference.py``, which apply what is learned.
"""
