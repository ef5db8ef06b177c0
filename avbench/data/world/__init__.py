"""AVScenes, the embedded world: real media in official formats, with known evidence.

For every fact in a caption (a *slot*), the modalities that show it are known, so that a model's
use of modalities can be measured. ``stage.run`` generates the world.
"""
