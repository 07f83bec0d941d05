"""vdr: what does a diffusion model learn when it is trained on video?

Importing the package is cheap: nothing heavy is loaded until it is used.
"""

__version__ = "0.1.0"
