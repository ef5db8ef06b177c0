"""AVScenes, the embedded world: real media in official formats, with known evidence.

Every fact that a caption states (a *slot*) is known to be told by given modalities, so that what
a model uses can be measured. ``stage.run`` generates; nothing else is imported from outside.
"""
