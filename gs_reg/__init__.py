"""gs-reg: regularised 3D Gaussian splatting. Importing it loads torch and numpy alone; heavier parts load where they are used."""

__version__ = "0.1.0"
