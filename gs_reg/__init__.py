"""gs-reg: regularised 3D Gaussian splatting. Importing it loads torch and numpy alone; the rest loads where used."""

__version__ = "0.1.0"
