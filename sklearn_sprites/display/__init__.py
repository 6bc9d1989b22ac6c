"""Pictures of fitted estimators; matplotlib is imported when something is drawn."""

from sklearn_sprites.display.clustering import ReconstructionDisplay, SpriteDisplay
from sklearn_sprites.display.decomposition import DecompositionDisplay

__all__ = ["DecompositionDisplay", "ReconstructionDisplay", "SpriteDisplay"]
