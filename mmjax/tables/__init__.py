"""Published tables: their rows trained and judged, their figures drawn, their summaries written.

An experiment is a config and the rows of one of these tables. A function here takes the config as
it is: any dataclass with the fields that it reads. Modules are imported one by one, by those who
run them.
"""
