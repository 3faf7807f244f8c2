"""The plugin for nerfstudio 1.1.5: methods `gs-reg` and `gs-reg-free`, and the dataparser `gs-reg-data`.

nerfstudio finds them by the entry points in pyproject.toml. config.yml of its runs names classes by module: what is
named there (GsRegModelConfig, GsRegDataParserConfig ...) must stay where it is.
"""
