"""The program `gs-reg`: one module for each command, in a folder for each group of commands."""
